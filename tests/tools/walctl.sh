#!/bin/bash
# SPDX-License-Identifier: MIT
# Tests of walctl, in TAP. Each function whose name begins with case_ is one, run in an empty directory of its own; it fails at
# the first command that fails. usage: walctl.sh WALCTL
set -u
export LC_ALL=C
walctl=$(realpath "$1")
time_re='[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{9}Z'

# same WANT GOT
same() {
	[ "$1" = "$2" ] || {
		printf 'want: %q\n got: %q\n' "$1" "$2"
		return 1
	}
}

# exits STATUS COMMAND...: the command ends with that status; out and err are what it printed.
exits() {
	local want=$1 status=0
	shift
	"$@" >out 2>err || status=$?
	[ "$status" -eq "$want" ] || {
		echo "$*: exit status $status, not $want"
		cat out err
		return 1
	}
}

# says PATTERN: stderr of the last `exits` has it.
says() {
	grep -qE -- "$1" err || {
		echo "stderr has no '$1':"
		cat err
		return 1
	}
}

# damage TEXT: changes the last byte of that text wherever it stands in the store.
damage() {
	local file off found=false
	while IFS=: read -r file off _; do
		printf '\xff' | dd of="$file" bs=1 seek=$((off + ${#1} - 1)) conv=notrunc status=none
		found=true
	done < <(grep -rabo -- "$1" store)
	$found
}

# flat COMMAND...: the command succeeds and its memory stays below 32 MiB, which a sanitizer's would not.
flat() {
	python3 -c '
import os, sys
pid = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
status, usage = os.wait4(pid, 0)[1:]
print("peak", usage.ru_maxrss, "KiB", file=sys.stderr)
sys.exit(status != 0 or (sys.argv[1] == "" and usage.ru_maxrss > 32768))
' "${SANITIZED-}" "$@"
}

case_append_prints_the_number() {
	same 1 "$("$walctl" append -c store orders one)"
	same 2 "$("$walctl" append store orders two)"
	same onetwo "$("$walctl" cat store orders)"
}

case_append_takes_bytes_as_they_are() {
	printf 'a\0b\n\n\xff' >want
	"$walctl" append -c store orders <want
	"$walctl" cat store orders last >got
	cmp want got
}

case_append_of_arguments_is_a_batch() {
	same '1 2 3' "$("$walctl" append -c store orders a '' ccc | xargs)"
	same accc "$("$walctl" cat store orders)"
	same '1 0 3' "$("$walctl" ls store orders | awk '{ print $4 }' | xargs)"
}

case_append_sets_the_header() {
	"$walctl" append -c -H '{"type":"paid"}' store orders content
	same '{"type":"paid"}' "$("$walctl" cat -H store orders 1)"
	same content "$("$walctl" cat store orders 1)"
	same '15 7' "$("$walctl" ls store orders | awk '{ print $3, $4 }')"
}

case_append_of_nothing_makes_no_record() {
	same '' "$("$walctl" append -c store orders </dev/null)"
	same 0 "$("$walctl" ls store | awk '{ print $3 }')"
	same 1 "$("$walctl" append -H only store orders </dev/null)"
}

case_append_expects_a_number() {
	"$walctl" append -c store orders one
	exits 2 "$walctl" append -e 1 store orders two
	says 'the next record is not 1'
	exits 2 "$walctl" append -e 3 store orders two
	exits 0 "$walctl" append -e 2 store orders two
	same 2 "$(cat out)"
	exits 2 "$walctl" append -e 0 store orders two
	exits 2 "$walctl" append -e -3 store orders two
	exits 2 "$walctl" append -e 3x store orders two
}

case_append_of_lines() {
	same '1 2 3' "$(printf 'a\nbb\nc' | "$walctl" append -cl store log | xargs)"
	printf 'bb\n' >want
	"$walctl" cat store log 2 >got
	cmp want got
	same c "$("$walctl" cat store log last)"
}

case_append_of_many_lines() {
	seq 100000 >want
	same 100000 "$("$walctl" append -cl store log <want | tail -n 1)"
	"$walctl" cat store log >got
	cmp want got
}

case_append_of_lines_does_not_wait_for_more() {
	local n
	mkfifo lines numbers
	"$walctl" append -cl store log <lines >numbers &
	exec 3>lines 4<numbers
	echo one >&3
	read -r -t 30 n <&4
	same 1 "$n"
	echo two >&3
	read -r -t 30 n <&4
	same 2 "$n"
	exec 3>&- 4<&-
	wait $!
}

case_append_of_lines_refuses_one_too_long() {
	exits 2 "$walctl" append -cl store log < <(echo short; head -c 2000000 /dev/zero)
	says 'line: '
	same short "$("$walctl" cat store log)"
}

case_a_large_record_comes_back_in_flat_memory() {
	head -c 150000000 /dev/urandom >want
	flat "$walctl" append -c -d store big <want
	flat "$walctl" cat store big >got
	cmp want got
}

case_append_at_the_edges_of_its_buffer() {
	local n
	for n in 1048575 1048576 1048577 2097152; do
		head -c "$n" /dev/urandom >want
		"$walctl" append -c -H "$n" store orders <want
		"$walctl" cat store orders last | cmp want -
		same "$n" "$("$walctl" cat -H store orders last)"
	done
}

case_append_needs_the_stream() {
	"$walctl" append -c store orders one
	exits 2 "$walctl" append store others one
	says "^walctl append: stream 'others': "
	exits 2 "$walctl" append missing orders one
	[ ! -e missing ]
}

case_append_to_a_store_in_use_names_the_holder() {
	local n
	mkfifo lines numbers
	"$walctl" append -cl store log <lines >numbers &
	exec 3>lines 4<numbers
	echo one >&3
	read -r -t 30 n <&4
	exits 2 "$walctl" append store log two
	says "$!"
	says 'walctl append'
	exits 0 "$walctl" ls store
	exits 0 "$walctl" stat store
	exits 0 "$walctl" stat store log
	same one "$("$walctl" cat store log)"
	exits 0 "$walctl" verify store
	exec 3>&- 4<&-
	wait $!
	exits 0 "$walctl" append store log two
}

case_ls_lists_streams_by_name() {
	"$walctl" append -c store 'b c' x
	"$walctl" append -c store a one two
	"$walctl" append -c store empty </dev/null
	exits 0 "$walctl" ls store
	same '1 2 2 6 a|1 1 1 1 b c|0 0 0 0 empty|' \
		"$(awk '{ $5 = ""; print }' out | sed -E 's/ +/ /g; s/^ //' | tr '\n' '|')"
	same 'a|b c|empty|' "$("$walctl" ls -1 store | tr '\n' '|')"
	[ "$(grep -cE " $time_re +(a|b c)\$" out)" -eq 2 ]
	same 'first last records bytes time name' "$("$walctl" ls -v store | head -n 1 | xargs)"
}

case_ls_lists_records() {
	"$walctl" append -c store orders one two three
	same '1 3|2 3|3 5|' "$("$walctl" ls store orders | awk '{ print $1, $4 }' | tr '\n' '|')"
	same 'record time header content' "$("$walctl" ls -v store orders | head -n 1 | xargs)"
	same '2 3' "$("$walctl" ls store orders 2- | awk '{ print $1 }' | xargs)"
	same 3 "$("$walctl" ls store orders last | awk '{ print $1 }')"
	"$walctl" ls store orders 1 | grep -qE "^ +1 $time_re +0 +3\$"
	exits 2 "$walctl" ls store orders 4
	exits 2 "$walctl" ls -1 store orders
}

case_ranges() {
	"$walctl" append -c store s a b c d e
	same abcde "$("$walctl" cat store s)"
	same bcd "$("$walctl" cat store s 2-4)"
	same de "$("$walctl" cat store s 4-)"
	same aea "$("$walctl" cat store s first last 0000000001)"
	same abcde "$("$walctl" cat store s first-last)"
	same '' "$("$walctl" cat store s 6-)"
	exits 2 "$walctl" cat store s 4-7
	same de "$(cat out)"
	says '^walctl cat: record 6: '
	for bad in 0 -1 4-2 x 1-x 99999999999999999999 '' 1-2-3; do
		exits 2 "$walctl" cat store s -- "$bad"
	done
	"$walctl" append -c store empty </dev/null
	exits 0 "$walctl" cat store empty
	exits 2 "$walctl" cat store empty last
}

case_stat_is_made_for_awk() {
	"$walctl" append -c store orders one two
	exits 0 "$walctl" stat store orders
	same 2 "$(awk '$1 == "records" { print $2 }' out)"
	same 1 "$(awk '$1 == "first" { print $2 }' out)"
	same 2 "$(awk '$1 == "last" { print $2 }' out)"
	same "$(id -u)" "$(awk '$1 == "uid" { print $2 }' out)"
	same default "$(awk '$1 == "config.durable" { print $2 }' out)"
	same orders "$(awk '$1 == "name" { print $2 }' out)"
	awk '$1 == "last_time" { print $2 }' out | grep -qE '^[0-9]{10}\.[0-9]{9}$'
	"$walctl" append -c store other x
	same 1 "$("$walctl" stat store orders other | grep -c '^$')"
	exits 0 "$walctl" stat store
	same 2 "$(awk '$1 == "streams" { print $2 }' out)"
	same no "$(awk '$1 == "degraded" { print $2 }' out)"
}

case_the_mode_is_that_of_mkdir() {
	(umask 027 && "$walctl" append -c store orders x)
	same 0750 "$("$walctl" stat store orders | awk '$1 == "mode" { print $2 }')"
}

case_verify_of_a_good_store() {
	"$walctl" append -c store orders one two
	"$walctl" append -c store other x
	exits 0 "$walctl" verify store
	grep -qE '^2 streams, [0-9]+ segments, 3 records, [0-9]+ bytes: no damage$' out
	exits 0 "$walctl" verify store orders
	grep -qE '^1 streams, .* 2 records' out
	exits 0 "$walctl" verify -q store
	[ ! -s out ]
	exits 2 "$walctl" verify store missing
}

case_damage_is_found_and_passed_over() {
	"$walctl" append -c store orders AAAAAAAA
	"$walctl" append store orders BBBBBBBB
	"$walctl" append store orders CCCCCCCC
	damage BBBBBBBB
	exits 1 "$walctl" verify store
	awk -F '\t' '$1 == "damaged" && $2 == "orders" && $5 == 2 { n++ } END { exit n == 0 }' out
	tail -n 1 out | grep -qE ': [0-9]+ damaged'
	exits 1 "$walctl" cat store orders
	same AAAAAAAACCCCCCCC "$(cat out)"
	says '^walctl cat: record 2: '
	exits 1 "$walctl" cat store orders 2
	exits 0 "$walctl" cat store orders 3
	exits 0 "$walctl" ls store
	same 3 "$("$walctl" ls store orders 2>/dev/null | wc -l)"
	same 4 "$("$walctl" append store orders DDDDDDDD)"
	exits 1 "$walctl" verify store
}

case_reading_changes_nothing() {
	"$walctl" append -c store orders one two
	find store -type f -exec cksum {} + | sort >before
	"$walctl" ls store
	"$walctl" ls store orders
	"$walctl" stat store
	"$walctl" cat store orders
	"$walctl" verify store
	find store -type f -exec cksum {} + | sort | diff before -
}

case_a_foreign_directory_is_refused() {
	mkdir foreign
	echo precious >foreign/file
	exits 2 "$walctl" ls foreign
	exits 2 "$walctl" append -c foreign orders x
	says foreign
	same precious "$(cat foreign/file)"
	same file "$(ls -A foreign)"
	exits 2 "$walctl" ls missing
	says missing
	[ ! -e missing ]
	echo >file
	exits 2 "$walctl" ls file
}

case_names_are_spelled_as_in_a_mount() {
	"$walctl" append -c store a%2Fb x
	"$walctl" append -c store 'user 1' x
	same 'a%2Fb|user 1|' "$("$walctl" ls -1 store | tr '\n' '|')"
	same x "$("$walctl" cat store a%2Fb)"
	exits 2 "$walctl" append -c store a/b x
	says "'a/b' is not the name of a stream"
	exits 2 "$walctl" cat store a%2fb
	exits 2 "$walctl" append -c store .hidden x
	exits 2 "$walctl" append -c store '' x
}

case_help_and_version() {
	local command
	exits 0 "$walctl" --help
	grep -q '^usage: walctl' out
	exits 0 "$walctl" --version
	grep -qE '^walctl [0-9]+\.[0-9]+\.[0-9]+$' out
	for command in ls stat cat append verify; do
		exits 0 "$walctl" $command --help
		grep -q "^usage: walctl $command" out
		[ ! -s err ]
		exits 0 "$walctl" $command --version
		exits 2 "$walctl" $command
		says "^walctl $command: the store is missing"
		exits 2 "$walctl" $command --no-such-option
		says "^walctl $command: "
	done
}

case_wrong_usage() {
	exits 2 "$walctl"
	exits 2 "$walctl" frobnicate store
	says "unknown command 'frobnicate'"
	exits 2 "$walctl" --frobnicate
	exits 2 "$walctl" cat store
	says 'the stream is missing'
	exits 2 "$walctl" append store
	exits 2 "$walctl" append -l store s text
}

case_a_closed_pipe_ends_it_quietly() {
	local status
	head -c 5000000 /dev/zero | "$walctl" append -c store big
	"$walctl" cat store big 2>err | head -c 10 >/dev/null
	status=${PIPESTATUS[0]}
	[ "$status" -eq 141 ] || [ "$status" -eq 0 ]
	[ ! -s err ]
}

case_a_full_disk_is_an_error() {
	[ -e /dev/full ] || return 77
	"$walctl" append -c store orders one
	exits 2 bash -c '"$0" cat store orders >/dev/full' "$walctl"
	says 'standard output'
	exits 2 bash -c '"$0" ls store >/dev/full' "$walctl"
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cases=$(declare -F | sed -n 's/^declare -f case_//p')
echo "1..$(wc -w <<<"$cases")"
n=0
for name in $cases; do
	n=$((n + 1))
	mkdir "$scratch/$name"
	(
		set -e
		cd "$scratch/$name"
		"case_$name"
	) >"$scratch/log" 2>&1 </dev/null
	case $? in
	0) echo "ok $n - $name" ;;
	77) echo "ok $n - $name # SKIP" ;;
	*)
		echo "not ok $n - $name"
		sed 's/^/# /' "$scratch/log"
		;;
	esac
	rm -rf "${scratch:?}/$name"
done
