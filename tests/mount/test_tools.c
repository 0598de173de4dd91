/* SPDX-License-Identifier: MIT
 *
 * What ordinary tools leave when they write to append: cp, dd, tee, python and others, one open, one record.
 */
#include "matrix.h"

#define PY \
	"python3 - \"$A\" \"$T\" <<'END'\nimport os, sys, signal, shutil, subprocess, threading, time\nA, T = sys.argv[1:3]\n"
#define END "\nEND\n"

static const struct cell cells[] = {
	/* cp */
	{ .name = "cp", .script = "cp $T/big \"$A\"", .file = "big" },
	{ .name = "cp -p", .script = "cp -p $T/big \"$A\"", .file = "big" },
	{ .name = "cp -a", .script = "cp -a $T/big \"$A\"", .file = "big" },
	{ .name = "cp of a small file", .script = "cp $T/a \"$A\"", .file = "a" },
	{ .name = "cp of an empty file", .script = ": > $T/empty; cp $T/empty \"$A\"", .texts = { NULL } },
	{ .name = "cp, leading hole", .script = "cp $T/holes-head \"$A\"", .file = "holes-head" },
	{ .name = "cp, hole in the middle", .script = "cp $T/holes-mid \"$A\"", .file = "holes-mid" },
	{ .name = "cp, trailing hole", .script = "cp $T/holes-tail \"$A\"", .file = "holes-tail" },
	{ .name = "cp, nothing but a hole", .script = "cp $T/holes-all \"$A\"", .file = "holes-all" },
	{ .name = "cp --sparse=always", .script = "cp --sparse=always $T/holes-mid \"$A\"", .file = "holes-mid" },
	{ .name = "cat of a sparse file", .script = "cat $T/holes-mid > \"$A\"", .file = "holes-mid" },
	{ .name = "busybox cp", .script = "busybox cp $T/big \"$A\"", .file = "big", .tool = "busybox" },
	{ .name = "busybox cat", .script = "busybox cat $T/big > \"$A\"", .file = "big", .tool = "busybox" },
	/* dd */
	{ .name = "dd", .script = "dd if=$T/big of=\"$A\" status=none", .file = "big" },
	{ .name = "dd bs=1", .script = "dd if=$T/a of=\"$A\" bs=1 status=none", .file = "a" },
	{ .name = "dd bs=64k", .script = "dd if=$T/big of=\"$A\" bs=64k status=none", .file = "big" },
	{ .name = "dd bs=4M", .script = "dd if=$T/big of=\"$A\" bs=4M status=none", .file = "big" },
	{ .name = "dd conv=notrunc oflag=append",
	  .script = "dd if=$T/big of=\"$A\" bs=100k conv=notrunc oflag=append status=none",
	  .file = "big" },
	{ .name = "dd conv=fsync", .script = "dd if=$T/big of=\"$A\" bs=100k conv=fsync status=none", .file = "big" },
	{ .name = "dd conv=fdatasync",
	  .script = "dd if=$T/big of=\"$A\" bs=100k conv=fdatasync status=none",
	  .file = "big" },
	{ .name = "dd conv=sparse",
	  .script = "dd if=$T/holes-mid of=\"$A\" bs=4k conv=sparse status=none",
	  .file = "holes-mid" },
	{ .name = "dd seek",
	  .script = "dd if=$T/a of=\"$A\" bs=512 seek=1 status=none; dd if=$T/a of=$T/seek bs=512 seek=1 status=none",
	  .file = "seek" },
	{ .name = "dd seek conv=notrunc",
	  .script =
		  "dd if=$T/a of=\"$A\" bs=512 seek=1 conv=notrunc status=none; dd if=$T/a of=$T/seek bs=512 seek=1 status=none",
	  .file = "seek" },
	{ .name = "dd oflag=direct",
	  .script = "dd if=$T/blocks of=\"$A\" bs=4096 oflag=direct status=none",
	  .file = "blocks",
	  .block = 4096 },
	{ .name = "dd oflag=direct,append",
	  .script = "dd if=$T/blocks of=\"$A\" bs=4096 conv=notrunc oflag=direct,append status=none",
	  .file = "blocks",
	  .block = 4096 },
	{ .name = "dd oflag=direct, blocks that are no pages",
	  .script = "dd if=$T/blocks of=\"$A\" bs=2048 oflag=direct status=none",
	  .file = "blocks",
	  .block = 2048 },
	{ .name = "dd oflag=direct, a short last block",
	  .script = "head -c 10000 $T/blocks > $T/short; dd if=$T/short of=\"$A\" bs=4096 oflag=direct status=none",
	  .file = "short",
	  .block = 4096 },
	{ .name = "dd oflag=dsync",
	  .script = "dd if=$T/blocks of=\"$A\" bs=1000 oflag=dsync status=none",
	  .file = "blocks",
	  .block = 1000 },
	{ .name = "dd oflag=sync,append",
	  .script = "dd if=$T/blocks of=\"$A\" bs=5000 conv=notrunc oflag=sync,append status=none",
	  .file = "blocks",
	  .block = 5000 },
	{ .name = "dd oflag=direct, more than one request",
	  .script = "dd if=$T/big of=\"$A\" bs=3M count=1 oflag=direct status=none 2>/dev/null",
	  .texts = { NULL },
	  .code = 1 },
	{ .name = "busybox dd",
	  .script = "busybox dd if=$T/big of=\"$A\" bs=64k 2>/dev/null",
	  .file = "big",
	  .tool = "busybox" },
	/* tee and pipes */
	{ .name = "tee", .script = "cat $T/big | tee \"$A\" > $T/copy && cmp $T/copy $T/big", .file = "big" },
	{ .name = "tee -a", .script = "cat $T/big | tee -a \"$A\" > /dev/null", .file = "big" },
	{ .name = "busybox tee",
	  .script = "cat $T/big | busybox tee -a \"$A\" > /dev/null",
	  .file = "big",
	  .tool = "busybox" },
	{ .name = "tee to two streams",
	  .script = "mkdir \"$S-2\"; cat $T/big | tee -a \"$A\" \"$S-2/append\" > /dev/null; cmp $T/big \"$S-2/1\"",
	  .file = "big" },
	{ .name = "tee of nothing", .script = "tee -a \"$A\" < /dev/null", .texts = { NULL } },
	/* others */
	{ .name = "seq", .script = "seq 1 100000 > $T/seq; seq 1 100000 > \"$A\"", .file = "seq" },
	{ .name = "head -c",
	  .script = "head -c 100000 $T/big > $T/head; head -c 100000 $T/big >> \"$A\"",
	  .file = "head" },
	{ .name = "sort -o", .script = "sort $T/lines -o $T/sorted; sort $T/lines -o \"$A\"", .file = "sorted" },
	{ .name = "sed", .script = "sed -n p $T/lines > \"$A\"", .file = "lines" },
	{ .name = "awk writes by name",
	  .script = "awk -v A=\"$A\" '{ print >> A }' $T/lines",
	  .file = "lines",
	  .tool = "awk" },
	{ .name = "perl", .script = "perl -pe '' $T/lines >> \"$A\"", .file = "lines", .tool = "perl" },
	{ .name = "gzip", .script = "gzip -cn $T/big > $T/gz; gzip -cn $T/big > \"$A\"", .file = "gz", .tool = "gzip" },
	{ .name = "tar to append",
	  .script = "tar -cf $T/tar -C $T a b blocks; tar -cf - -C $T a b blocks > \"$A\"",
	  .file = "tar" },
	{ .name = "xargs",
	  .script = "echo a b c | xargs -n1 sh -c 'echo $1 >> \"$0\"' \"$A\"",
	  .texts = { "a\n", "b\n", "c\n" } },
	{ .name = "find -exec",
	  .script = "find $T/a -exec cat {} ';' >> \"$A\"",
	  .texts = { "alpha\n" },
	  .later = true },
	{ .name = "rsync --inplace", .script = "rsync --inplace $T/big \"$A\"", .file = "big", .tool = "rsync" },
	{ .name = "env nice nohup", .script = "nohup nice env echo a >> \"$A\" 2>/dev/null", .texts = { "a\n" } },
	/* what changes nothing */
	{ .name = "touch", .script = "touch \"$A\"", .texts = { NULL } },
	{ .name = "touch -d", .script = "touch -d 2001-01-01 \"$A\"", .texts = { NULL } },
	{ .name = "truncate -s 0", .script = "echo a >> \"$A\"; truncate -s 0 \"$A\"", .texts = { "a\n" } },
	{ .name = "chmod and chown", .script = "chmod 600 \"$A\" && chown 1:1 \"$A\"", .texts = { NULL } },
	{ .name = "rm", .script = "echo a >> \"$A\"; rm \"$A\" && echo b >> \"$A\"", .texts = { "a\n", "b\n" } },
	{ .name = "cat append", .script = "echo a >> \"$A\"; cat \"$A\" > /dev/null", .texts = { "a\n" } },
	/* python */
	{ .name = "python open, write, close",
	  .script = PY
	  "f = open(A, 'ab'); f.write(b'x\\ny\\n'); f.close(); assert open(A[:-6] + '1').read() == 'x\\ny\\n'" END,
	  .texts = { "x\ny\n" },
	  .tool = "python3" },
	{ .name = "python with, many writes",
	  .script = PY "text = open(T + '/lines').readlines()\nwith open(A, 'w') as f: f.writelines(text)" END,
	  .file = "lines",
	  .tool = "python3" },
	{ .name = "python, flush in mid-record",
	  .script = PY "with open(A, 'a') as f:\n for x in 'abc': f.write(x); f.flush()" END,
	  .texts = { "abc" },
	  .tool = "python3" },
	{ .name = "python, fsync in mid-record",
	  .script = PY "with open(A, 'a') as f:\n for x in 'abc': f.write(x); f.flush(); os.fsync(f.fileno())" END,
	  .texts = { "a", "b", "c" },
	  .tool = "python3" },
	{ .name = "python, never closed",
	  .script = PY "f = open(A, 'a'); f.write('abc')" END,
	  .texts = { "abc" },
	  .tool = "python3" },
	{ .name = "python, exception after a write",
	  .script = PY
	  "f = open(A, 'a', buffering=1)\nf.write('abc\\n')\nsys.stderr.close(); os.close(2); raise ValueError" END,
	  .texts = { "abc\n" },
	  .code = 1,
	  .tool = "python3" },
	{ .name = "python fork, both write",
	  .script = PY
	  "fd = os.open(A, os.O_WRONLY | os.O_APPEND)\npid = os.fork()\n"
	  "if pid == 0: os.write(fd, b'child '); os._exit(0)\n"
	  "os.waitpid(pid, 0); os.write(fd, b'parent'); os.close(fd)\nassert os.path.exists(A[:-6] + '1')" END,
	  .texts = { "child parent" },
	  .tool = "python3" },
	{ .name = "python fork, child closes first",
	  .script = PY "fd = os.open(A, os.O_WRONLY | os.O_APPEND)\nos.write(fd, b'parent ')\npid = os.fork()\n"
		       "if pid == 0: os.write(fd, b'child '); os.close(fd); os._exit(0)\n"
		       "os.waitpid(pid, 0); assert not os.path.exists(A[:-6] + '1')\n"
		       "os.write(fd, b'parent'); os.close(fd)" END,
	  .texts = { "parent child parent" },
	  .tool = "python3" },
	{ .name = "python fork, the child alone writes",
	  .script = PY "fd = os.open(A, os.O_WRONLY | os.O_APPEND)\npid = os.fork()\n"
		       "if pid == 0: os.write(fd, b'child'); os._exit(0)\nos.close(fd); os.waitpid(pid, 0)" END,
	  .texts = { "child" },
	  .tool = "python3",
	  .later = true },
	{ .name = "Popen(stdout=f)",
	  .script = PY "with open(A, 'wb') as f: subprocess.Popen(['cat', T + '/big'], stdout=f).wait()" END,
	  .file = "big",
	  .tool = "python3",
	  .later = true },
	{ .name = "two Popen(stdout=f)",
	  .script = PY "with open(A, 'wb') as f:\n for x in 'ab': subprocess.run(['cat', T + '/' + x], stdout=f)" END,
	  .texts = { "alpha\nbeta\n" },
	  .tool = "python3",
	  .later = true },
	{ .name = "threads that open, write, close",
	  .script = PY "box = []\n"
		       "def run(f, *a):\n t = threading.Thread(target=f, args=a); t.start(); t.join()\n"
		       "run(lambda: box.append(os.open(A, os.O_WRONLY | os.O_APPEND)))\n"
		       "run(lambda: os.write(box[0], b'in ')); run(lambda: os.write(box[0], b'threads'))\n"
		       "run(lambda: os.close(box[0]))\nassert os.path.exists(A[:-6] + '1')" END,
	  .texts = { "in threads" },
	  .tool = "python3" },
	{ .name = "shutil.copyfile",
	  .script = PY "shutil.copyfile(T + '/big', A)" END,
	  .file = "big",
	  .tool = "python3" },
	{ .name = "sendfile",
	  .script = PY "i, o = os.open(T + '/big', os.O_RDONLY), os.open(A, os.O_WRONLY)\n"
		       "n = os.fstat(i).st_size\n"
		       "while n: n -= os.sendfile(o, i, None, n)\nos.close(o)" END,
	  .file = "big",
	  .tool = "python3" },
	{ .name = "splice",
	  .script = PY "r, w = os.pipe(); i, o = os.open(T + '/big', os.O_RDONLY), os.open(A, os.O_WRONLY)\n"
		       "while True:\n n = os.splice(i, w, 65536)\n if not n: break\n"
		       " while n: n -= os.splice(r, o, n)\nos.close(o)" END,
	  .file = "big",
	  .tool = "python3" },
	{ .name = "logging.FileHandler",
	  .script = PY "import logging\nh = logging.FileHandler(A); logging.getLogger().addHandler(h)\n"
		       "for x in 'abc': logging.warning(x)\nlogging.shutdown()" END,
	  .texts = { "a\nb\nc\n" },
	  .tool = "python3" },
};

int main(void)
{
	static const char *const shells[] = { "bash" };

	return matrix_main("tools", cells, sizeof(cells) / sizeof(*cells), shells, 1);
}
