/* SPDX-License-Identifier: MIT */
#include "err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "banned.h"

int wal_err_set(struct wal_err *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return code;
	err->code = code;
	va_start(ap, fmt);
	(void)vsnprintf(err->text, sizeof(err->text), fmt, ap); /* a cut text is still a text */
	va_end(ap);
	return code;
}

int wal_err_sys(struct wal_err *err, int code, const char *fmt, ...)
{
	va_list ap;
	size_t len;

	if (!err)
		return code;
	err->code = code;
	va_start(ap, fmt);
	(void)vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	len = strlen(err->text);
	(void)snprintf(err->text + len, sizeof(err->text) - len, ": %s", wal_strerror(code));
	return code;
}

int wal_err_wrap(struct wal_err *err, int code, const char *fmt, ...)
{
	char old[sizeof(err->text)];
	va_list ap;
	size_t len;

	if (!err)
		return code;
	if (err->code != code)
		(void)wal_err_set(err, code, "%s", wal_strerror(code));
	memcpy(old, err->text, sizeof(old));
	va_start(ap, fmt);
	(void)vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	len = strlen(err->text);
	(void)snprintf(err->text + len, sizeof(err->text) - len, ": %s", old);
	return code;
}

const char *wal_strerror(int code)
{
	switch (code < 0 ? -code : code) {
	case EBADMSG:
		return "damaged data (checksum mismatch)";
	case ENODATA:
		return "ends early";
	case EPROTONOSUPPORT:
		return "unknown format version or flag";
	case EIDRM:
		return "removed by retention, trim or deletion";
	case ESTALE:
		return "not the next number";
	case EROFS:
		return "read-only, or stopped after a failed sync";
	case EMSGSIZE:
		return "over a size limit";
	case EBUSY:
		return "in use by another process";
	default:
		/* The GNU strerror table is constant and thread-safe for known numbers. */
		return strerrordesc_np(code < 0 ? -code : code) ? strerrordesc_np(code < 0 ? -code : code)
								: "unknown error";
	}
}

const char *wal_version(void)
{
	return WAL_VERSION_STRING;
}
