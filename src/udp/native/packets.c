/*
 * Packet protection of many packets at once, as src/protocol/crypto/packet-protection.ts does it for one (RFC 9001 section 5): header
 * protection, and the AEAD with the header as associated data, by the OpenSSL that Node has inside. Byte for byte the same.
 *
 * Keys come with each call, in rows of a table; of each suite the last one stays in OpenSSL until the next takes its place. What is unusual is left exactly as it came, for JavaScript to judge; so
 * is every further packet of the same keys that is to be opened, since what JavaScript finds in one may change what is right for the next.
 */
#define _GNU_SOURCE /* RTLD_DEFAULT */
#include "addon.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

/* A row of the table of packets. Positions are in the arena. */
typedef struct {
  int32_t start;        /* of the header */
  int32_t number_start; /* of the packet number in it */
  int32_t end;          /* sealing: of the payload, behind which is room for the tag. Opening: of the packet, tag included */
  int32_t key;          /* row in the table of keys */
  uint32_t number_low;  /* the packet number: read when sealing, written when opening */
  int32_t number_high;
  int32_t payload_start; /* opening: written */
  /* Written. Sealing: 0. Opening: bits of the header that are mostly 0. Or FAILED or LEFT. */
  int32_t result;
} Packet;

/* A row of the table of keys. What is said of numbers is for opening. */
typedef struct {
  uint8_t suite; /* as on the wire */
  uint8_t phase; /* K of the packets that it opens */
  uint8_t unused[2];
  uint8_t key[32];
  uint8_t header_key[32];
  uint8_t iv[12];
  double largest; /* the largest number opened with it, or -1; goes on with what is opened here */
  uint8_t is_left; /* a packet was left: so are the others */
  uint8_t rest[7];
} Keys;

_Static_assert(sizeof(Packet) == PACKET_ROW_BYTES, "rows of packets are what JavaScript makes them");
_Static_assert(sizeof(Keys) == 96, "rows of keys are what JavaScript makes them");

enum { FAILED = -1, LEFT = -2 };
enum { CHACHA20_POLY1305 = 1, AES_256_GCM = 2, SUITES = 3 };
enum { TAG_BYTES = 16, SAMPLE_OFFSET = 4, SAMPLE_BYTES = 16, MASK_BYTES = 5, NONCE_BYTES = 12 };
/* Bits of a first byte. */
enum { LONG_FORM = 0x80, LONG_RESERVED_BIT = 0x04, NUMBER_LENGTH_BITS = 0x03 };
enum { SYMBOL_BIT = 0x10, RESERVED_BIT = 0x08, PHASE_BIT = 0x04 };
#define NUMBER_MAX ((INT64_C(1) << 53) - 1)

/* ---- OpenSSL, declared here: what of it is used has been the same since 1.1.0 ---- */

typedef struct evp_cipher_st EVP_CIPHER;
typedef struct evp_cipher_ctx_st EVP_CIPHER_CTX;
enum { EVP_CTRL_AEAD_GET_TAG = 0x10, EVP_CTRL_AEAD_SET_TAG = 0x11 };

typedef struct {
  const EVP_CIPHER *(*EVP_chacha20_poly1305)(void);
  const EVP_CIPHER *(*EVP_aes_256_gcm)(void);
  const EVP_CIPHER *(*EVP_aes_256_ecb)(void);
  EVP_CIPHER_CTX *(*EVP_CIPHER_CTX_new)(void);
  void (*EVP_CIPHER_CTX_free)(EVP_CIPHER_CTX *);
  int (*EVP_CIPHER_CTX_ctrl)(EVP_CIPHER_CTX *, int type, int value, void *data);
  int (*EVP_CipherInit_ex)(EVP_CIPHER_CTX *, const EVP_CIPHER *, void *engine, const uint8_t *key, const uint8_t *iv,
                           int encrypts);
  int (*EVP_CipherUpdate)(EVP_CIPHER_CTX *, uint8_t *out, int *out_bytes, const uint8_t *in, int in_bytes);
  int (*EVP_CipherFinal_ex)(EVP_CIPHER_CTX *, uint8_t *out, int *out_bytes);
  void (*ERR_clear_error)(void);
} OpenSsl;

struct Packets {
  OpenSsl ssl;
  /* By suite. What key they have from an earlier call is never used. */
  EVP_CIPHER_CTX *aead[SUITES];
  EVP_CIPHER_CTX *aes_block;
};

/* A name's function, the way POSIX wants a void pointer to become one; says which is missing. */
static bool find(const char *name, void *function, const char **missing) {
  void *symbol = dlsym(RTLD_DEFAULT, name);
  memcpy(function, &symbol, sizeof symbol);
  if (symbol == NULL) *missing = name;
  return symbol != NULL;
}

static bool find_open_ssl(OpenSsl *ssl, const char **missing) {
#define FIND(name) find(#name, &ssl->name, missing)
  return FIND(EVP_chacha20_poly1305) && FIND(EVP_aes_256_gcm) && FIND(EVP_aes_256_ecb) && FIND(EVP_CIPHER_CTX_new) &&
         FIND(EVP_CIPHER_CTX_free) && FIND(EVP_CIPHER_CTX_ctrl) && FIND(EVP_CipherInit_ex) && FIND(EVP_CipherUpdate) &&
         FIND(EVP_CipherFinal_ex) && FIND(ERR_clear_error);
#undef FIND
}

Packets *packets_new(const char **missing) {
  Packets *packets = calloc(1, sizeof *packets);
  if (packets == NULL) return NULL;
  OpenSsl *ssl = &packets->ssl;
  if (!find_open_ssl(ssl, missing)) {
    free(packets);
    return NULL;
  }
  struct {
    EVP_CIPHER_CTX **context;
    const EVP_CIPHER *cipher;
    const char *name;
  } ciphers[] = {
      {&packets->aead[CHACHA20_POLY1305], ssl->EVP_chacha20_poly1305(), "chacha20-poly1305"},
      {&packets->aead[AES_256_GCM], ssl->EVP_aes_256_gcm(), "aes-256-gcm"},
      {&packets->aes_block, ssl->EVP_aes_256_ecb(), "aes-256-ecb"},
  };
  for (size_t i = 0; i < sizeof ciphers / sizeof ciphers[0]; i++) {
    *ciphers[i].context = ssl->EVP_CIPHER_CTX_new();
    if (*ciphers[i].context == NULL || ciphers[i].cipher == NULL ||
        ssl->EVP_CipherInit_ex(*ciphers[i].context, ciphers[i].cipher, NULL, NULL, NULL, 1) != 1) {
      *missing = ciphers[i].name;
      ssl->ERR_clear_error();
      packets_free(packets);
      return NULL;
    }
  }
  return packets;
}

void packets_free(Packets *packets) {
  void (*const free_context)(EVP_CIPHER_CTX *) = packets->ssl.EVP_CIPHER_CTX_free;
  for (int suite = 0; suite < SUITES; suite++) free_context(packets->aead[suite]);
  free_context(packets->aes_block);
  free(packets);
}

/* ---- header protection ---- */

static uint32_t little_endian(const uint8_t *bytes) {
  return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static uint32_t rotate(uint32_t value, int bits) { return value << bits | value >> (32 - bits); }

#define QUARTER_ROUND(a, b, c, d) \
  a += b, d = rotate(d ^ a, 16);  \
  c += d, b = rotate(b ^ c, 12);  \
  a += b, d = rotate(d ^ a, 8);   \
  c += d, b = rotate(b ^ c, 7)

/* The first bytes of the block of ChaCha20 (RFC 8439 section 2.3) whose counter and nonce are the sample. */
static void chacha_mask(const uint8_t *key, const uint8_t *sample, uint8_t *mask) {
  const uint32_t first = 0x61707865;
  const uint32_t second = 0x3320646e;
  uint32_t x[16] = {first, second, 0x79622d32, 0x6b206574};
  for (int i = 0; i < 8; i++) x[4 + i] = little_endian(key + 4 * i);
  for (int i = 0; i < 4; i++) x[12 + i] = little_endian(sample + 4 * i);
  for (int i = 0; i < 10; i++) {
    QUARTER_ROUND(x[0], x[4], x[8], x[12]);
    QUARTER_ROUND(x[1], x[5], x[9], x[13]);
    QUARTER_ROUND(x[2], x[6], x[10], x[14]);
    QUARTER_ROUND(x[3], x[7], x[11], x[15]);
    QUARTER_ROUND(x[0], x[5], x[10], x[15]);
    QUARTER_ROUND(x[1], x[6], x[11], x[12]);
    QUARTER_ROUND(x[2], x[7], x[8], x[13]);
    QUARTER_ROUND(x[3], x[4], x[9], x[14]);
  }
  uint32_t word = x[0] + first;
  for (int i = 0; i < 4; i++) mask[i] = (uint8_t)(word >> 8 * i);
  mask[4] = (uint8_t)(x[1] + second);
}

static bool find_mask(const Packets *packets, const Keys *keys, const uint8_t *sample, uint8_t *mask) {
  if (keys->suite == CHACHA20_POLY1305) {
    chacha_mask(keys->header_key, sample, mask);
    return true;
  }
  uint8_t block[2 * SAMPLE_BYTES];
  int bytes;
  const OpenSsl *ssl = &packets->ssl;
  if (ssl->EVP_CipherInit_ex(packets->aes_block, NULL, NULL, keys->header_key, NULL, 1) != 1 ||
      ssl->EVP_CipherUpdate(packets->aes_block, block, &bytes, sample, SAMPLE_BYTES) != 1)
    return false;
  memcpy(mask, block, MASK_BYTES);
  return true;
}

/* Which bits of a first byte the mask covers. */
static uint8_t masked_bits(uint8_t first) { return (first & LONG_FORM) != 0 ? 0x07 : 0x1f; }

/* ---- the AEAD ---- */

/* The number stands in the last 8 bytes of the nonce; the path number before it is 0. */
static void make_nonce(const Keys *keys, int64_t number, uint8_t *nonce) {
  memcpy(nonce, keys->iv, NONCE_BYTES);
  for (int i = 0; i < 8; i++) nonce[NONCE_BYTES - 1 - i] ^= (uint8_t)(number >> 8 * i);
}

/* Which keys the contexts have during a call, and for what. */
typedef struct {
  const Keys *keys;
  bool encrypts;
} InUse;

/* Begins a packet: the key is set when it is another one than that of the packet before. */
static EVP_CIPHER_CTX *begin(const Packets *packets, InUse *in_use, const Keys *keys, int64_t number) {
  uint8_t nonce[NONCE_BYTES];
  EVP_CIPHER_CTX *context = packets->aead[keys->suite];
  const uint8_t *key = in_use->keys == keys ? NULL : keys->key;
  make_nonce(keys, number, nonce);
  in_use->keys = keys;
  return packets->ssl.EVP_CipherInit_ex(context, NULL, NULL, key, nonce, in_use->encrypts) == 1 ? context : NULL;
}

/* Encrypts or decrypts [from, to) in place, with the header before it as associated data. */
static bool run(const OpenSsl *ssl, EVP_CIPHER_CTX *context, uint8_t *header, uint8_t *from, uint8_t *to) {
  int bytes;
  return ssl->EVP_CipherUpdate(context, NULL, &bytes, header, (int)(from - header)) == 1 &&
         (from == to || ssl->EVP_CipherUpdate(context, from, &bytes, from, (int)(to - from)) == 1) &&
         ssl->EVP_CipherFinal_ex(context, to, &bytes) == 1;
}

/* What failed is of no account to whoever uses OpenSSL next, nor to the next packet. */
static void forget_failure(const Packets *packets, InUse *in_use) {
  in_use->keys = NULL;
  packets->ssl.ERR_clear_error();
}

/* ---- rows ---- */

/* The keys of a packet; null when there is no such row, or no such suite. */
static Keys *keys_of(Memory keys, const Packet *packet) {
  if (packet->key < 0 || (size_t)packet->key >= keys.bytes / sizeof(Keys)) return NULL;
  Keys *row = (Keys *)keys.data + packet->key;
  return row->suite == CHACHA20_POLY1305 || row->suite == AES_256_GCM ? row : NULL;
}

/* True when a header of at least a byte, and behind its number's start at least `bytes`, lie in the arena. */
static bool lies_within(const Packet *packet, size_t arena_bytes, int bytes) {
  return packet->start >= 0 && packet->number_start > packet->start && packet->end >= packet->number_start &&
         (size_t)packet->end <= arena_bytes && packet->end - packet->number_start >= bytes;
}

/* ---- sealing ---- */

static int32_t seal_packet(const Packets *packets, InUse *in_use, Memory arena, const Packet *packet, const Keys *keys) {
  uint8_t *header = arena.data + packet->start;
  uint8_t *number_at = arena.data + packet->number_start;
  uint8_t *tag = arena.data + packet->end;
  int number_bytes = (header[0] & NUMBER_LENGTH_BITS) + 1;
  int64_t number = (int64_t)packet->number_high << 32 | packet->number_low;
  uint8_t mask[MASK_BYTES];
  EVP_CIPHER_CTX *context = begin(packets, in_use, keys, number);
  if (context == NULL || !run(&packets->ssl, context, header, number_at + number_bytes, tag) ||
      packets->ssl.EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, tag) != 1 ||
      !find_mask(packets, keys, number_at + SAMPLE_OFFSET, mask))
    return FAILED;
  header[0] ^= mask[0] & masked_bits(header[0]);
  for (int i = 0; i < number_bytes; i++) number_at[i] ^= mask[1 + i];
  return 0;
}

size_t packets_seal(Packets *packets, Memory arena, Memory table, size_t count, Memory keys) {
  InUse in_use = {NULL, true};
  size_t done = 0;
  for (size_t i = 0; i < count; i++) {
    Packet *packet = (Packet *)table.data + i;
    const Keys *row = keys_of(keys, packet);
    bool is_usual = row != NULL && arena.bytes >= TAG_BYTES && packet->number_high >= 0 &&
                    lies_within(packet, arena.bytes - TAG_BYTES, SAMPLE_OFFSET);
    packet->result = is_usual ? seal_packet(packets, &in_use, arena, packet, row) : LEFT;
    if (packet->result == FAILED) forget_failure(packets, &in_use);
    if (packet->result != LEFT) done++;
  }
  return done;
}

/* ---- opening ---- */

/* The whole number whose low bytes are `truncated`: the one closest to the number expected next (RFC 9000 appendix A.3). */
static int64_t decode_number(uint32_t truncated, int bytes, int64_t largest) {
  int64_t expected = largest + 1;
  int64_t window = INT64_C(1) << 8 * bytes;
  int64_t candidate = expected - expected % window + truncated;
  if (candidate <= expected - window / 2 && candidate + window <= NUMBER_MAX) return candidate + window;
  if (candidate > expected + window / 2 && candidate >= window) return candidate - window;
  return candidate;
}

static int32_t open_packet(const Packets *packets, InUse *in_use, Memory arena, Packet *packet, Keys *keys) {
  uint8_t *header = arena.data + packet->start;
  uint8_t *number_at = arena.data + packet->number_start;
  uint8_t *tag = arena.data + packet->end - TAG_BYTES;
  uint8_t mask[MASK_BYTES];
  if (!find_mask(packets, keys, number_at + SAMPLE_OFFSET, mask)) return FAILED;
  bool is_long = (header[0] & LONG_FORM) != 0;
  uint8_t first = header[0] ^ (mask[0] & masked_bits(header[0]));
  if (!is_long && (first & PHASE_BIT) >> 2 != keys->phase) return LEFT;
  int number_bytes = (first & NUMBER_LENGTH_BITS) + 1;
  uint32_t truncated = 0;
  for (int i = 0; i < number_bytes; i++) truncated = truncated << 8 | (number_at[i] ^= mask[1 + i]);
  header[0] = first;
  int64_t number = decode_number(truncated, number_bytes, (int64_t)keys->largest);
  if (number > NUMBER_MAX) return FAILED;
  EVP_CIPHER_CTX *context = begin(packets, in_use, keys, number);
  if (context == NULL ||
      packets->ssl.EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, tag) != 1 ||
      !run(&packets->ssl, context, header, number_at + number_bytes, tag))
    return FAILED;
  packet->number_low = (uint32_t)number;
  packet->number_high = (int32_t)(number >> 32);
  packet->payload_start = packet->number_start + number_bytes;
  if ((double)number > keys->largest) keys->largest = (double)number;
  return first & (is_long ? LONG_RESERVED_BIT : SYMBOL_BIT | RESERVED_BIT);
}

size_t packets_open(Packets *packets, Memory arena, Memory table, size_t count, Memory keys) {
  InUse in_use = {NULL, false};
  size_t done = 0;
  for (size_t i = 0; i < count; i++) {
    Packet *packet = (Packet *)table.data + i;
    Keys *row = keys_of(keys, packet);
    bool is_usual = row != NULL && row->is_left == 0 && row->largest >= -1 && row->largest <= (double)NUMBER_MAX &&
                    lies_within(packet, arena.bytes, SAMPLE_OFFSET + SAMPLE_BYTES);
    packet->result = is_usual ? open_packet(packets, &in_use, arena, packet, row) : LEFT;
    if (packet->result == FAILED) {
      forget_failure(packets, &in_use);
    } else if (packet->result == LEFT) {
      if (row != NULL) row->is_left = 1;
      continue;
    }
    done++;
  }
  return done;
}
