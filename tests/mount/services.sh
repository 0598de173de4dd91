#!/bin/bash
# SPDX-License-Identifier: MIT
# The unit, mount(8), fstab, findmnt and umount: what is installed is run here by hand as systemd and mount(8) would run it. All of
# it in a mount and PID namespace of its own: however this ends, nothing is left.
# usage: services.sh SOURCE BUILD; $WALFS is the daemon
set -u

source=$1 build=$2
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
	tmp=$(mktemp -d "${TMPDIR:-/tmp}/walfs-services-XXXXXX")
	trap 'rm -rf --one-file-system "$tmp"' EXIT
	# A late end is an end, too: with the first process of the namespace all others go.
	INSIDE=$tmp timeout -k 5 $((100 * scale)) \
		unshare --mount --pid --fork --kill-child=KILL --mount-proc bash "$0" "$@"
	exit $?
fi
T=$INSIDE
cd "$T" || exit 1
mkdir dest mnt store sub
chmod 755 "$T"
n=0

# ok TITLE COMMAND...: the next case. What the command says is shown where it fails.
ok() {
	local title=$1
	shift
	n=$((n + 1))
	if "$@" >"$T/said" 2>&1; then
		echo "ok $n - $title"
	else
		echo "not ok $n - $title"
		sed 's/^/# /' "$T/said"
	fi
}
skip() {
	n=$((n + 1))
	echo "ok $n - $1 # SKIP $2"
}
# A condition that comes true within ten seconds.
await() {
	local i
	for i in $(seq $((1000 * scale))); do
		"$@" >/dev/null 2>&1 && return
		sleep 0.01
	done
	echo "in vain: $*"
	return 1
}
mounted() { findmnt -rno FSTYPE --mountpoint "$1" | grep -qx fuse.walfs; }
gone() { ! grep -q " $1 fuse.walfs " /proc/self/mounts; }

# mount(8) forgets PATH: the helper of fuse3 looks where things are installed.
mount -t tmpfs none /usr/local/sbin && ln -s "$WALFS" /usr/local/sbin/walfs

# ---- what is installed

install_all() {
	meson install -C "$build" --no-rebuild --destdir "$T/dest" || return
	unit=$(find dest -name 'walfs@.service')
	for f in events.conf fstab mnt-events.mount mnt-events.automount; do
		find dest -path "*/doc/walfs/examples/$f" | grep . || return
	done
	[ -x "dest$(sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' "$unit")" ] && # it starts what is installed
		case $unit in */lib/systemd/system/walfs@.service) ;; *) false ;; esac
}
unit=
if [ -f "$build/fs/walfs@.service" ]; then
	ok "meson installs the unit and the examples" install_all
else
	skip "meson installs the unit and the examples" "built without -Dsystemd"
fi
[ -n "$unit" ] || { sed "s,@bindir@,/usr/local/sbin," "$source/fs/walfs@.service.in" >walfs@.service; unit=$T/walfs@.service; }

verify() {
	mkdir -p units && sed 's,^ExecStart=[^ ]*,ExecStart=/usr/local/sbin/walfs,' "$unit" >units/walfs@.service &&
		cp "$source"/fs/examples/mnt-events.* units &&
		said=$(systemd-analyze verify --man=no units/walfs@.service units/mnt-events.mount units/mnt-events.automount 2>&1)
	local status=$?
	echo "$said"
	# Other units of this machine are not ours to judge.
	[ $status -eq 0 ] || return
	! echo "$said" | grep -E 'walfs@|mnt-events'
}
if command -v systemd-analyze >/dev/null; then
	ok "systemd-analyze verify" verify
else
	skip "systemd-analyze verify" "systemd-analyze is not installed"
fi

# ---- the unit, as systemd runs it

printf 'STORE=%s\nMOUNTPOINT=%s\nOPTIONS=allow_other,digits=3\n' "$T/store" "$T/mnt" >events.conf
# With the file's environment, the words of ExecStart: ${NAME} is one word.
exec_start() {
	set -a && OPTIONS=rw && . ./events.conf && set +a
	local words=() word
	for word in $(sed -n 's/^ExecStart=[^ ]* //p' "$unit"); do
		words+=("$(eval echo "\"$word\"")")
	done
	exec setpriv --bounding-set "-all$(sed -n 's/^CapabilityBoundingSet=//p' "$unit" | tr A-Z a-z | sed 's/cap_/,+/g; s/ //g')" \
		--no-new-privs "$WALFS" "${words[@]}"
}
exec_stop_post() {
	(
		set -a && . ./events.conf && set +a
		line=$(sed -n "s/^ExecStopPost=-\/bin\/sh -c '\(.*\)'\$/\1/p" "$unit")
		[ -n "$line" ] && /bin/sh -c "$(echo "$line" | sed 's/[$][$]/$/g')"
	)
}
daemon=
start() {
	(exec_start) >daemon.log 2>&1 &
	daemon=$!
	await mounted "$T/mnt"
}
started() {
	start && mkdir mnt/s && chmod 777 mnt/s && echo x >>mnt/s/append && [ "$(readlink mnt/s/last)" = 001 ]
}
ok "the unit's command, with the unit's capabilities" started
# CAP_SYS_PTRACE: a killed writer of another user is seen.
killed_writer() {
	setpriv --reuid 12001 --regid 12001 --clear-groups \
		/bin/bash -c 'exec 3>>"$1" && printf half >&3 && kill -KILL $$' - "$T/mnt/s/append"
	[ $? -eq 137 ] && echo y >>mnt/s/append && [ "$(cat mnt/s/002)" = y ] && ! [ -e mnt/s/003 ]
}
ok "a killed writer of another user leaves no record" killed_writer
stop_post_spares() {
	exec_stop_post
	mounted "$T/mnt" && [ "$(cat mnt/s/1)" = x ]
}
ok "ExecStopPost spares a mount that works" stop_post_spares
dead() {
	kill -KILL "$daemon"
	wait "$daemon"
	LC_ALL=C stat -f mnt 2>&1 | grep -q 'not connected' && exec_stop_post && gone "$T/mnt" && [ -z "$(ls mnt)" ]
}
ok "ExecStopPost clears a dead mount" dead
again() {
	start && [ "$(cat mnt/s/002)" = y ] && kill -TERM "$daemon" && wait "$daemon" && gone "$T/mnt"
}
ok "it starts again, and SIGTERM ends it with 0" again

# ---- mount(8) and fstab

by_mount() {
	mount -t fuse.walfs store mnt -o rw,nosuid,nofail,_netdev,noauto,x-systemd.automount,x-gvfs-show,x-systemd.requires=a.service,digits=4 &&
		[ "$(readlink mnt/s/last)" = 0002 ]
}
if [ -x /sbin/mount.fuse3 ]; then
	ok "mount -t fuse.walfs, with options for others" by_mount
	found() {
		[ "$(findmnt -rno SOURCE,FSTYPE --mountpoint "$T/mnt")" = "$T/store fuse.walfs" ] &&
			findmnt -rno OPTIONS -t fuse.walfs | grep nosuid
	}
	ok "findmnt" found
	unmounted() { umount mnt && gone "$T/mnt" && await sh -c "! pgrep -x walfs"; }
	ok "umount" unmounted
	unknown() { ! mount -t fuse.walfs store mnt -o nonsense=1 && gone "$T/mnt"; }
	ok "an option that nobody knows is refused" unknown
	fstab_of() { # the example's first line, for this place
		sed -n "/fuse.walfs/{s,^[^ ]* *[^ ]*,$T/store $T/mnt,p;q}" "$source/fs/examples/fstab"
	}
	by_fstab() {
		fstab_of >fstab && grep -q fuse.walfs fstab && mount --bind fstab /etc/fstab && mount "$T/mnt" &&
			[ "$(cat mnt/s/last)" = y ] && setpriv --reuid 12001 --regid 12001 --clear-groups ls "$T/mnt/s" &&
			umount "$T/mnt" && gone "$T/mnt"
	}
	ok "the line of fstab: mount MOUNTPOINT, umount MOUNTPOINT" by_fstab
	all() { await sh -c "! pgrep -x walfs" && mount -a -t fuse.walfs && mounted "$T/mnt" && umount "$T/mnt"; }
	ok "mount -a" all
	findmnt_verify() { fstab_of >fstab && findmnt --verify --tab-file fstab | tee out && ! grep -q '\[E\]' out; }
	ok "findmnt --verify finds no error in the line" findmnt_verify
else
	for i in "mount -t fuse.walfs, with options for others" findmnt umount "an option that nobody knows is refused" \
		"the line of fstab" "mount -a" "findmnt --verify"; do
		skip "$i" "there is no /sbin/mount.fuse3"
	done
fi
echo "1..$n"
