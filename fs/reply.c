/* SPDX-License-Identifier: MIT
 *
 * Most errors of the engine are the operating system's and pass through. The ones with a meaning of their own would
 * puzzle: nobody expects "Identifier removed" of a file.
 */
#include "reply.h"

#include "walfs.h"

#include <errno.h>

int walfs_errno(int err, enum walfs_sense sense)
{
	switch (err) {
	case -EIDRM:
		return sense == WALFS_WRITING || sense == WALFS_PACKET || sense == WALFS_HEADING ? ESTALE : ENOENT;
	case -EBADMSG:
	case -EPROTONOSUPPORT:
	case -ENODATA:
		return EIO;
	case -EMSGSIZE:
		switch (sense) {
		case WALFS_WRITING:
		case WALFS_READING:
			return EFBIG;
		case WALFS_PACKET:
			return EMSGSIZE;
		case WALFS_HEADING:
			return E2BIG;
		case WALFS_NAMING:
			return ENAMETOOLONG;
		}
		return EFBIG;
	case -ENOSYS:
		return EOPNOTSUPP; /* the kernel takes ENOSYS for an operation that no file here will ever have */
	case -EAGAIN:
		/* Would-block is a promise to the loop, never to a client: who waited and still got it met a fault. */
		return EIO;
	default:
		return err < 0 ? -err : EIO;
	}
}

void walfs_reply_err(fuse_req_t req, int err, enum walfs_sense sense)
{
	struct walfs *fs = fuse_req_userdata(req);
	int errnum = walfs_errno(err, sense);
	walfs_meter_error(&fs->meter, errnum);
	(void)fuse_reply_err(req, errnum); /* fails only where the mount is gone */
}
