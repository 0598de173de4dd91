/* SPDX-License-Identifier: MIT */
#include "ledger_bytes.h"

#include <pthread.h>
#include <string.h>

#define NOISE 65536
#define MAGIC UINT32_C(0x7ed6e401)

static uint8_t noise[2 * NOISE];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_noise(void)
{
	uint32_t x = 1;

	for (size_t i = 0; i < sizeof(noise); i++) {
		x = x * UINT32_C(1664525) + UINT32_C(1013904223);
		noise[i] = (uint8_t)(x >> 24);
	}
}

/* Fills or compares, from a place in the noise that the ask decides. */
static bool pass(uint8_t *out, const uint8_t *in, size_t len, uint32_t ask)
{
	size_t at = (size_t)(ask * UINT32_C(2654435761)) % NOISE;

	pthread_once(&once, make_noise);
	for (size_t done = 0, n; done < len; done += n) {
		n = len - done < NOISE ? len - done : NOISE;
		if (out)
			memcpy(out + done, noise + at, n);
		else if (memcmp(in + done, noise + at, n) != 0)
			return false;
	}
	return true;
}

void ledger_fill_header(uint8_t *out, size_t len, uint32_t ask)
{
	(void)pass(out, NULL, len, ~ask);
}

void ledger_fill_content(uint8_t *out, size_t len, uint32_t ask)
{
	uint32_t magic = MAGIC;

	memcpy(out, &ask, 4);
	memcpy(out + 4, &magic, 4);
	(void)pass(out + LEDGER_CONTENT_MIN, NULL, len - LEDGER_CONTENT_MIN, ask);
}

int64_t ledger_claim(const uint8_t *content, size_t len)
{
	uint32_t ask, magic;

	if (len < LEDGER_CONTENT_MIN)
		return -1;
	memcpy(&ask, content, 4);
	memcpy(&magic, content + 4, 4);
	return magic == MAGIC ? (int64_t)ask : -1;
}

bool ledger_is_header(const uint8_t *bytes, size_t len, uint32_t ask)
{
	return pass(NULL, bytes, len, ~ask);
}

bool ledger_is_content(const uint8_t *bytes, size_t len, uint32_t ask)
{
	return ledger_claim(bytes, len) == ask && pass(NULL, bytes + LEDGER_CONTENT_MIN, len - LEDGER_CONTENT_MIN, ask);
}
