#!/bin/bash
# SPDX-License-Identifier: MIT
# Containers by podman with runc, and by bwrap: what the README says of them. All of it in a mount and PID namespace of its own, so
# that however this ends no container, no mount and no daemon is left. Each command that could hang has a deadline.
# usage: containers.sh; $WALFS is the daemon
set -u

scale=${WALFS_TEST_SCALE:-1} && scale=${scale%%.*}
[ "${scale:-0}" -ge 1 ] || scale=1
if [ "$(id -u)" -ne 0 ] || ! [ -c /dev/fuse ]; then
	echo "1..0 # SKIP it takes root and /dev/fuse"
	exit 0
fi
if [ -z "${INSIDE-}" ]; then
	if ! unshare --mount --pid --fork --mount-proc true 2>/dev/null; then
		echo "1..0 # SKIP unshare cannot make namespaces here"
		exit 0
	fi
	tmp=$(mktemp -d "${TMPDIR:-/tmp}/walfs-containers-XXXXXX")
	run=$(mktemp -d /tmp/walfs-XXXXXX) # podman takes no long name for this
	trap 'rm -rf --one-file-system "$tmp" "$run"' EXIT
	# With the first process of the namespace all others go.
	INSIDE=$tmp RUNROOT=$run timeout -k 5 $((220 * scale)) unshare --mount --pid --fork --kill-child=KILL --mount-proc bash "$0" "$@"
	exit $?
fi
T=$INSIDE
cd "$T" || exit 1
chmod 755 "$T"
mkdir -p run/mnt store ctl root/{bin,proc,dev,sys,tmp,run,etc,ctl,store,mnt,lib,lib64,usr/lib}
chmod 777 ctl
n=0

# ok TITLE COMMAND...: the next case. What the command says is shown where it fails; SKIP in it is the reason to skip.
ok() {
	local title=$1
	shift
	n=$((n + 1))
	if "$@" >"$T/said" 2>&1; then
		echo "ok $n - $title"
	elif grep -q '^SKIP ' "$T/said"; then
		echo "ok $n - $title # $(grep -m 1 '^SKIP ' "$T/said")"
	else
		echo "not ok $n - $title"
		sed 's/^/# /' "$T/said"
	fi
}
# A condition that comes true within twenty seconds.
await() {
	local i
	for i in $(seq $((1000 * scale))); do
		"$@" >/dev/null 2>&1 && return
		sleep 0.02
	done
	echo "in vain: $*"
	return 1
}
mounted() { grep -q " $T/run/mnt fuse.walfs " /proc/self/mounts; }
last() { readlink run/mnt/s/last; }
daemon=
start() {
	"$WALFS" store run/mnt -f -o "$1" >>daemon.log 2>&1 &
	daemon=$!
	await mounted && await test -e run/mnt/.walfs/version
}
stop() { kill -TERM "$daemon" && wait "$daemon"; }

# ---- podman

# container [OPTION...] -- SCRIPT: a shell in a real container, which sees run/ as /run/walfs and ctl/ as /ctl.
container() {
	local options=()
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	timeout -k 5 $((60 * scale)) podman --root "$T/podman/root" --runroot "$RUNROOT" --tmpdir "$T/podman/tmp" \
		--cgroup-manager cgroupfs --events-backend none --runtime runc run --rm --network none \
		--ulimit nofile=1024:1024 --ulimit nproc=1024:1024 -v "$T/run:/run/walfs:rslave" -v "$T/ctl:/ctl" \
		"${options[@]+"${options[@]}"}" --rootfs "$T/root" sh -c "$2" </dev/null
}
need_podman() {
	[ -z "$no_podman" ] && return
	echo "SKIP $no_podman"
	return 1
}

busybox=$(command -v busybox)
no_podman=
for tool in podman runc busybox; do
	command -v $tool >/dev/null || no_podman="$tool is not installed"
done
if [ -n "$busybox" ]; then
	cp "$busybox" root/bin/busybox
	for applet in sh cat echo ls mkdir sleep head id test seq stat mount umount kill; do
		ln -s busybox "root/bin/$applet"
	done
fi
if [ -z "$no_podman" ] && ! container -- true >podman.log 2>&1; then
	no_podman="podman cannot run a container here: $(tail -n 1 podman.log)"
fi
mount --bind run run && mount --make-shared run

# ---- one mount on the host, many containers

started() { start allow_other,umask=0 && mkdir run/mnt/s && chmod 777 run/mnt/s; }
ok "the daemon on the host" started

restart() {
	need_podman || return
	container -- 'cd /run/walfs/mnt/s && echo before >> append; cd /; echo > /ctl/wrote
		while ! test -e /ctl/again; do sleep 0.05; done
		echo after >> /run/walfs/mnt/s/append && cat /run/walfs/mnt/s/1' >container.log &
	local container=$!
	await test -e ctl/wrote && stop && start allow_other,umask=0 && touch ctl/again && wait "$container" &&
		[ "$(cat container.log)" = before ] && [ "$(cat run/mnt/s/2)" = after ]
}
ok "podman: with the parent bound rslave, a container sees the mount after a restart of the daemon" restart

append_and_follow() {
	need_podman || return
	mkdir run/mnt/f && chmod 777 run/mnt/f
	container -- 'head -n 200 /run/walfs/mnt/f/follow' >followed &
	local third=$! pids=() writer
	for writer in a b; do
		container -- "for i in \$(seq 100); do echo $writer \$i >> /run/walfs/mnt/f/append; done" &
		pids+=($!)
	done
	wait "${pids[0]}" && wait "${pids[1]}" && wait "$third" || return
	# All of both, and as it is in the stream. Not in order: a close that cannot tell leaves the commit to the RELEASE, which nobody waits for.
	for writer in a b; do
		[ "$(grep "^$writer " followed | sort -n -k 2)" = "$(seq 100 | sed "s/^/$writer /")" ] || return
	done
	cat run/mnt/f/*[0-9] | cmp - followed
}
ok "podman: two containers append to a stream, a third follows it" append_and_follow

another_user() {
	need_podman || return
	mkdir -m 750 run/mnt/private && echo secret >>run/mnt/private/append
	# root in a container without a user namespace is root
	container -- 'cat /run/walfs/mnt/private/1' | grep -qx secret &&
		container --user 12002:12002 -- '! cat /run/walfs/mnt/private/1 && ! ls /run/walfs/mnt/private &&
			! echo x >> /run/walfs/mnt/private/append && ! rm /run/walfs/mnt/s/1 && echo mine >> /run/walfs/mnt/s/append' &&
		[ "$(cat run/mnt/s/last)" = mine ] && [ "$(ls run/mnt/private/*[0-9] | wc -l)" = 1 ]
}
ok "podman --user: a container of another user is refused, but where the mode lets it" another_user

user_namespace() {
	need_podman || return
	container --uidmap 0:100000:1000 --gidmap 0:100000:1000 -- true ||
		{ echo "SKIP podman cannot make a user namespace here" && return 1; }
	container --uidmap 0:100000:1000 --gidmap 0:100000:1000 -- '! cat /run/walfs/mnt/private/1 &&
		! echo x >> /run/walfs/mnt/private/append && ! rm /run/walfs/mnt/s/1 &&
		echo x >> /run/walfs/mnt/s/append && mkdir /run/walfs/mnt/theirs' &&
		[ "$(stat -c %u run/mnt/theirs)" = 100000 ]
}
ok "podman --uidmap: root of a container with a user namespace is another user" user_namespace

killed_container() {
	need_podman || return
	local before
	before=$(last)
	rm -f ctl/half
	container --name half -- 'exec 3>>/run/walfs/mnt/s/append; echo half >&3; echo > /ctl/half; exec sleep 1000' &
	local container=$!
	await test -e ctl/half || return
	podman --root "$T/podman/root" --runroot "$RUNROOT" --tmpdir "$T/podman/tmp" --cgroup-manager cgroupfs \
		--events-backend none --runtime runc kill half
	wait "$container"
	[ "$(last)" = "$before" ] && echo whole >>run/mnt/s/append && [ "$(cat run/mnt/s/last)" = whole ] &&
		[ "$(last)" = "$(printf %010d $((10#$before + 1)))" ]
}
ok "podman kill: a container killed in mid-record leaves none" killed_container

# ---- bwrap

sandbox() {
	command -v bwrap >/dev/null || { echo "SKIP bwrap is not installed" && return 1; }
	[ -n "$busybox" ] || { echo "SKIP busybox is not installed" && return 1; }
	timeout -k 5 $((30 * scale)) bwrap --bind root / --bind run /run/walfs --bind ctl /ctl --dev /dev --proc /proc --unshare-pid \
		--unshare-ipc --unshare-uts --unshare-net --die-with-parent sh -c "$1"
}
in_bwrap() {
	sandbox 'echo sandboxed >> /run/walfs/mnt/s/append && cat /run/walfs/mnt/s/last' | grep -qx sandboxed
}
bwrap_restart() {
	rm -f ctl/wrote ctl/again
	sandbox 'echo before >> /run/walfs/mnt/s/append; echo > /ctl/wrote
		while ! test -e /ctl/again; do sleep 0.05; done
		echo after >> /run/walfs/mnt/s/append' &
	local sandbox=$!
	await test -e ctl/wrote && stop && start allow_other,umask=0 && touch ctl/again && wait "$sandbox" &&
		[ "$(cat run/mnt/s/last)" = after ]
}
bwrap_killed() {
	local before
	before=$(last)
	sandbox "exec 3>>/run/walfs/mnt/s/append; echo half >&3; kill -9 \$\$"
	[ "$(last)" = "$before" ] && echo whole >>run/mnt/s/append && [ "$(cat run/mnt/s/last)" = whole ]
}
if ! sandbox true >bwrap.log 2>&1 && ! grep -q '^SKIP' bwrap.log; then
	why="bwrap cannot run here: $(tail -n 1 bwrap.log)"
	sandbox() { echo "SKIP $why" && return 1; }
fi
for title in in_bwrap bwrap_restart bwrap_killed; do
	command -v bwrap >/dev/null || eval "$title() { echo 'SKIP bwrap is not installed'; return 1; }"
done
ok "bwrap: append and read" in_bwrap
ok "bwrap: the mount after a restart of the daemon" bwrap_restart
ok "bwrap: a writer killed in mid-record leaves none" bwrap_killed
ended() { stop && ! mounted; }
ok "the end of the daemon on the host" ended

# ---- the daemon in a container

inside() {
	need_podman || return
	cp "$WALFS" root/bin/walfs
	local library
	for library in $(ldd "$WALFS" | grep -o '/[^ ]*'); do
		mkdir -p "root$(dirname "$library")" && cp -L "$library" "root$library" || return
	done
	container -v "$T/store:/store" --device /dev/fuse --cap-add SYS_ADMIN -- 'walfs /store /mnt || exit
		cat /mnt/s/1 && echo inside >> /mnt/s/append && cat /mnt/s/last && umount /mnt &&
		walfs /store /mnt -o ro && cat /mnt/s/last && umount /mnt' >out &&
		[ "$(cat out)" = "$(printf '%s\n' before inside inside)" ] &&
		start rw && [ "$(cat run/mnt/s/last)" = inside ] && stop
}
ok "podman --device /dev/fuse --cap-add SYS_ADMIN: the daemon in the container" inside

inside_without() {
	need_podman || return
	! container -v "$T/store:/store" -- 'walfs /store /mnt' >out 2>&1 || return
	grep -i 'fuse' out && ! container -v "$T/store:/store" --device /dev/fuse -- 'walfs /store /mnt'
}
ok "podman: without the device or the capability it is refused" inside_without
echo "1..$n"
