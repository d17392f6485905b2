/*
 * Packet protection of many packets at once, as src/protocol/crypto/packet-protection.ts does it for one (RFC 9001 section 5): header
 * protection, and the AEAD with the header as associated data, by the OpenSSL that Node has inside. Byte for byte the same.
 *
 * Keys come with each call, in rows of a table. To set one up takes OpenSSL as long as 1,000 bytes do, so some stay in it from call to call, until
 * others take their place or JavaScript says that they are over. What is unusual is left exactly as it came, for JavaScript to judge; so is every
 * further packet of the same keys that is to be opened, since what JavaScript finds in one may change what is right for the next.
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
enum { KEY_BYTES = 32, KEYS_KEPT = 16 };
enum { TAG_BYTES = 16, SAMPLE_OFFSET = 4, SAMPLE_BYTES = 16, MASK_BYTES = 5, NONCE_BYTES = 12 };
/* Bits of a first byte. */
enum { LONG_FORM = 0x80, LONG_RESERVED_BIT = 0x04, NUMBER_LENGTH_BITS = 0x03 };
enum { SYMBOL_BIT = 0x10, RESERVED_BIT = 0x08, PHASE_BIT = 0x04 };
#define NUMBER_MAX ((INT64_C(1) << 53) - 1)

/* ---- OpenSSL, declared here: what of it is used has been the same since 1.1.0 ---- */

typedef struct evp_cipher_st EVP_CIPHER;
typedef struct evp_cipher_ctx_st EVP_CIPHER_CTX;
enum { EVP_CTRL_AEAD_GET_TAG = 0x10, EVP_CTRL_AEAD_SET_TAG = 0x11 };

/*
 * What EVP_chacha20_poly1305 is made of, where the process shows that, as Node with its own OpenSSL does. EVP takes as long for what surrounds
 * them as they do for 1,000 bytes: six calls a packet, and a block of ChaCha20 of its own for the key of Poly1305.
 */
typedef struct {
  void (*ChaCha20_ctr32)(uint8_t *out, const uint8_t *in, size_t bytes, const uint32_t key[8], const uint32_t counter[4]);
  size_t (*Poly1305_ctx_size)(void);
  void (*Poly1305_Init)(void *, const uint8_t key[32]);
  void (*Poly1305_Update)(void *, const uint8_t *in, size_t bytes);
  void (*Poly1305_Final)(void *, uint8_t tag[16]);
} Primitives;

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

/* A context of OpenSSL, made when it is needed first, and the key that is set up in it. */
typedef struct {
  EVP_CIPHER_CTX *context;
  uint8_t key[KEY_BYTES];
  bool has_key;
} Keyed;

/* Contexts of one cipher and direction. A key has its place by its first byte, which is as random as the others. */
typedef struct {
  const EVP_CIPHER *cipher;
  bool encrypts;
  Keyed keyed[KEYS_KEPT];
} Contexts;

struct Packets {
  OpenSsl ssl;
  Primitives primitives;
  bool has_primitives;
  /* Of Poly1305_Init, which zeroes it in the end. */
  _Alignas(64) uint8_t poly1305[512];
  /* By suite. */
  Contexts sealing[SUITES];
  Contexts opening[SUITES];
  Contexts aes_block;
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

#ifndef EVP_ALONE
static bool find_primitives(Primitives *of, size_t poly1305_bytes) {
  const char *missing;
#define FIND(name) find(#name, &of->name, &missing)
  return FIND(ChaCha20_ctr32) && FIND(Poly1305_ctx_size) && FIND(Poly1305_Init) && FIND(Poly1305_Update) &&
         FIND(Poly1305_Final) && of->Poly1305_ctx_size() <= poly1305_bytes;
#undef FIND
}
#endif

/* ---- contexts ---- */

static Keyed *place_of(Contexts *contexts, const uint8_t *key) { return &contexts->keyed[key[0] % KEYS_KEPT]; }

static bool has_key(const Keyed *keyed, const uint8_t *key) {
  return keyed->context != NULL && memcmp(keyed->key, key, KEY_BYTES) == 0;
}

/* OpenSSL zeroes what it frees. */
static void free_keyed(const OpenSsl *ssl, Keyed *keyed) {
  ssl->EVP_CIPHER_CTX_free(keyed->context);
  keyed->context = NULL;
  memset(keyed->key, 0, KEY_BYTES);
}

/* A context with that key and nonce, of which a block cipher has none. Null when OpenSSL refuses. */
static EVP_CIPHER_CTX *set_up(const OpenSsl *ssl, Contexts *contexts, const uint8_t *key, const uint8_t *nonce) {
  Keyed *keyed = place_of(contexts, key);
  const bool is_there = has_key(keyed, key);
  if (is_there && nonce == NULL) return keyed->context;
  const EVP_CIPHER *cipher = keyed->context == NULL ? contexts->cipher : NULL;
  if (cipher != NULL && (keyed->context = ssl->EVP_CIPHER_CTX_new()) == NULL) return NULL;
  if (ssl->EVP_CipherInit_ex(keyed->context, cipher, NULL, is_there ? NULL : key, nonce, contexts->encrypts) != 1) {
    free_keyed(ssl, keyed);
    return NULL;
  }
  if (!is_there) memcpy(keyed->key, key, KEY_BYTES);
  return keyed->context;
}

/* Says what contexts of a cipher are for. False when OpenSSL has no such cipher. */
static bool begin_contexts(const OpenSsl *ssl, Contexts *contexts, const EVP_CIPHER *cipher, bool encrypts) {
  static const uint8_t zeroes[KEY_BYTES] = {0};
  contexts->cipher = cipher;
  contexts->encrypts = encrypts;
  if (cipher != NULL && set_up(ssl, contexts, zeroes, NULL) != NULL) {
    free_keyed(ssl, place_of(contexts, zeroes));
    return true;
  }
  ssl->ERR_clear_error();
  return false;
}

static void forget_key(const OpenSsl *ssl, Contexts *contexts, const uint8_t *key) {
  Keyed *keyed = place_of(contexts, key);
  if (has_key(keyed, key)) free_keyed(ssl, keyed);
}

void packets_forget(Packets *packets, Memory keys) {
  for (size_t i = 0; i < keys.bytes / sizeof(Keys); i++) {
    const Keys *row = (const Keys *)keys.data + i;
    if (row->suite == CHACHA20_POLY1305 || row->suite == AES_256_GCM) {
      forget_key(&packets->ssl, &packets->sealing[row->suite], row->key);
      forget_key(&packets->ssl, &packets->opening[row->suite], row->key);
    }
    forget_key(&packets->ssl, &packets->aes_block, row->header_key);
  }
}

/* ---- the beginning and the end ---- */

Packets *packets_new(const char **missing) {
  Packets *packets = aligned_alloc(_Alignof(Packets), sizeof *packets);
  if (packets == NULL) return NULL;
  memset(packets, 0, sizeof *packets);
  OpenSsl *ssl = &packets->ssl;
  if (!find_open_ssl(ssl, missing)) {
    free(packets);
    return NULL;
  }
  struct {
    Contexts *contexts;
    const EVP_CIPHER *cipher;
    bool encrypts;
    const char *name;
  } ciphers[] = {
      {&packets->sealing[CHACHA20_POLY1305], ssl->EVP_chacha20_poly1305(), true, "chacha20-poly1305"},
      {&packets->opening[CHACHA20_POLY1305], ssl->EVP_chacha20_poly1305(), false, "chacha20-poly1305"},
      {&packets->sealing[AES_256_GCM], ssl->EVP_aes_256_gcm(), true, "aes-256-gcm"},
      {&packets->opening[AES_256_GCM], ssl->EVP_aes_256_gcm(), false, "aes-256-gcm"},
      {&packets->aes_block, ssl->EVP_aes_256_ecb(), true, "aes-256-ecb"},
  };
  for (size_t i = 0; i < sizeof ciphers / sizeof ciphers[0]; i++) {
    if (!begin_contexts(ssl, ciphers[i].contexts, ciphers[i].cipher, ciphers[i].encrypts)) {
      *missing = ciphers[i].name;
      packets_free(packets);
      return NULL;
    }
  }
#ifndef EVP_ALONE /* which a test says */
  packets->has_primitives = find_primitives(&packets->primitives, sizeof packets->poly1305);
#endif
  return packets;
}

static void free_contexts(const OpenSsl *ssl, Contexts *contexts) {
  for (int i = 0; i < KEYS_KEPT; i++) free_keyed(ssl, &contexts->keyed[i]);
}

void packets_free(Packets *packets) {
  for (int suite = 0; suite < SUITES; suite++) {
    free_contexts(&packets->ssl, &packets->sealing[suite]);
    free_contexts(&packets->ssl, &packets->opening[suite]);
  }
  free_contexts(&packets->ssl, &packets->aes_block);
  free(packets);
}

/* ---- ChaCha20, of several packets at once ---- */

enum { LANES = 8 };
typedef uint32_t Lanes __attribute__((vector_size(4 * LANES)));

/* A block of ChaCha20 (RFC 8439 section 2.3), of whose output the first half is of use. */
typedef struct {
  const uint8_t *key; /* null: there is none */
  uint8_t input[16];  /* counter and nonce */
  uint8_t output[32];
} Block;

static uint32_t little_endian(const uint8_t *bytes) {
  return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static void put_little_endian(uint8_t *bytes, uint32_t value) {
  for (int i = 0; i < 4; i++) bytes[i] = (uint8_t)(value >> 8 * i);
}

#define ROTATE(value, bits) ((value) << (bits) | (value) >> (32 - (bits)))
#define QUARTER_ROUND(a, b, c, d)      \
  a += b, d ^= a, d = ROTATE(d, 16); \
  c += d, b ^= c, b = ROTATE(b, 12); \
  a += b, d ^= a, d = ROTATE(d, 8);  \
  c += d, b ^= c, b = ROTATE(b, 7)

/* Once more for processors whose registers hold all lanes, where compiler and system can choose between functions. */
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GLIBC__) && !defined(__clang__)
#define FOR_WIDE_REGISTERS_TOO __attribute__((target_clones("avx2", "default")))
#else
#define FOR_WIDE_REGISTERS_TOO
#endif

/* A packet needs two blocks beside those of its payload, for its tag and for its header; one by one they take as long as 500 bytes do. */
FOR_WIDE_REGISTERS_TOO
static void chacha_blocks(Block blocks[LANES]) {
  static const uint32_t constants[4] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
  Lanes first[8];
  Lanes x[16];
  bool is_any = false;
  for (int lane = 0; lane < LANES; lane++) is_any |= blocks[lane].key != NULL;
  if (!is_any) return;
  for (int word = 0; word < 16; word++) {
    for (int lane = 0; lane < LANES; lane++) {
      const Block *block = &blocks[lane];
      x[word][lane] = word < 4           ? constants[word]
                      : block->key == NULL ? 0
                      : word < 12        ? little_endian(block->key + 4 * (word - 4))
                                         : little_endian(block->input + 4 * (word - 12));
    }
    if (word < 8) first[word] = x[word];
  }
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
  for (int word = 0; word < 8; word++) {
    x[word] += first[word];
    for (int lane = 0; lane < LANES; lane++)
      if (blocks[lane].key != NULL) put_little_endian(blocks[lane].output + 4 * word, x[word][lane]);
  }
}

/* ---- header protection ---- */

/*
 * The first bytes of a block: that of AES of the sample, or that of ChaCha20 whose counter and nonce the sample is, which is there after
 * chacha_blocks.
 */
static bool begin_mask(Packets *packets, const Keys *keys, const uint8_t *sample, Block *mask) {
  if (keys->suite == CHACHA20_POLY1305) {
    mask->key = keys->header_key;
    memcpy(mask->input, sample, SAMPLE_BYTES);
    return true;
  }
  int bytes;
  const OpenSsl *ssl = &packets->ssl;
  EVP_CIPHER_CTX *context = set_up(ssl, &packets->aes_block, keys->header_key, NULL);
  return context != NULL && ssl->EVP_CipherUpdate(context, mask->output, &bytes, sample, SAMPLE_BYTES) == 1;
}

/* Which bits of a first byte the mask covers. */
static uint8_t masked_bits(uint8_t first) { return (first & LONG_FORM) != 0 ? 0x07 : 0x1f; }

/* ---- the AEAD ---- */

/* The number stands in the last 8 bytes of the nonce; the path number before it is 0. */
static void make_nonce(const Keys *keys, int64_t number, uint8_t *nonce) {
  memcpy(nonce, keys->iv, NONCE_BYTES);
  for (int i = 0; i < 8; i++) nonce[NONCE_BYTES - 1 - i] ^= (uint8_t)(number >> 8 * i);
}

/* The block whose counter is 0 begins with the packet's key for Poly1305 (RFC 8439 section 2.6). None where EVP does all. */
static void begin_one_time(const Packets *packets, const Keys *keys, int64_t number, Block *one_time) {
  if (keys->suite != CHACHA20_POLY1305 || !packets->has_primitives) return;
  one_time->key = keys->key;
  make_nonce(keys, number, one_time->input + 4);
}

/* ChaCha20 of the payload, whose counter begins at 1 behind that block. */
static void chacha(const Primitives *with, const Block *one_time, uint8_t *from, size_t bytes) {
  uint32_t key[8];
  uint32_t counter[4] = {1};
  for (int i = 0; i < 8; i++) key[i] = little_endian(one_time->key + 4 * i);
  for (int i = 1; i < 4; i++) counter[i] = little_endian(one_time->input + 4 * i);
  if (bytes > 0) with->ChaCha20_ctr32(from, from, bytes, key, counter);
}

/* The tag of what is encrypted in [from, to), with the header before it as associated data (RFC 8439 section 2.8). */
static void poly1305(Packets *packets, const Block *one_time, const uint8_t *header, const uint8_t *from, const uint8_t *to,
                     uint8_t *tag) {
  static const uint8_t zeroes[16] = {0};
  const Primitives *with = &packets->primitives;
  void *state = packets->poly1305;
  size_t header_bytes = (size_t)(from - header);
  size_t bytes = (size_t)(to - from);
  uint8_t lengths[16];
  put_little_endian(lengths, (uint32_t)header_bytes);
  put_little_endian(lengths + 4, (uint32_t)((uint64_t)header_bytes >> 32));
  put_little_endian(lengths + 8, (uint32_t)bytes);
  put_little_endian(lengths + 12, (uint32_t)((uint64_t)bytes >> 32));
  with->Poly1305_Init(state, one_time->output);
  with->Poly1305_Update(state, header, header_bytes);
  with->Poly1305_Update(state, zeroes, -header_bytes & 15);
  with->Poly1305_Update(state, from, bytes);
  with->Poly1305_Update(state, zeroes, -bytes & 15);
  with->Poly1305_Update(state, lengths, sizeof lengths);
  with->Poly1305_Final(state, tag);
}

static bool is_same_tag(const uint8_t *a, const uint8_t *b) {
  uint8_t differs = 0;
  for (int i = 0; i < TAG_BYTES; i++) differs |= a[i] ^ b[i];
  return differs == 0;
}

/* Begins a packet. */
static EVP_CIPHER_CTX *begin(const Packets *packets, Contexts *by_suite, const Keys *keys, int64_t number) {
  uint8_t nonce[NONCE_BYTES];
  make_nonce(keys, number, nonce);
  return set_up(&packets->ssl, &by_suite[keys->suite], keys->key, nonce);
}

/* Encrypts or decrypts [from, to) in place, with the header before it as associated data. */
static bool run(const OpenSsl *ssl, EVP_CIPHER_CTX *context, uint8_t *header, uint8_t *from, uint8_t *to) {
  int bytes;
  return ssl->EVP_CipherUpdate(context, NULL, &bytes, header, (int)(from - header)) == 1 &&
         (from == to || ssl->EVP_CipherUpdate(context, from, &bytes, from, (int)(to - from)) == 1) &&
         ssl->EVP_CipherFinal_ex(context, to, &bytes) == 1;
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

static int64_t number_of(const Packet *packet) {
  return (int64_t)packet->number_high << 32 | packet->number_low;
}

/* Packets of a table that follow each other, whose blocks of ChaCha20 are made together. */
typedef struct {
  Packet *packet[LANES];
  Keys *keys[LANES]; /* null: there are none */
  bool is_usual[LANES];
  int64_t number[LANES]; /* opening: if those before it open */
  Block mask[LANES];
  Block one_time[LANES];
} Group;

/* ---- sealing ---- */

static bool seal_payload(Packets *packets, Memory arena, const Packet *packet, const Keys *keys,
                         const Block *one_time) {
  uint8_t *header = arena.data + packet->start;
  uint8_t *payload = arena.data + packet->number_start + (header[0] & NUMBER_LENGTH_BITS) + 1;
  uint8_t *tag = arena.data + packet->end;
  if (one_time->key != NULL) {
    chacha(&packets->primitives, one_time, payload, (size_t)(tag - payload));
    poly1305(packets, one_time, header, payload, tag, tag);
    return true;
  }
  EVP_CIPHER_CTX *context = begin(packets, packets->sealing, keys, number_of(packet));
  return context != NULL && run(&packets->ssl, context, header, payload, tag) &&
         packets->ssl.EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, tag) == 1;
}

static void protect_header(Memory arena, const Packet *packet, const uint8_t *mask) {
  uint8_t *header = arena.data + packet->start;
  uint8_t *number_at = arena.data + packet->number_start;
  int number_bytes = (header[0] & NUMBER_LENGTH_BITS) + 1;
  header[0] ^= mask[0] & masked_bits(header[0]);
  for (int i = 0; i < number_bytes; i++) number_at[i] ^= mask[1 + i];
}

static void seal_group(Packets *packets, Memory arena, Group *group) {
  chacha_blocks(group->one_time);
  for (int k = 0; k < LANES; k++) {
    if (!group->is_usual[k]) continue;
    const Keys *keys = group->keys[k];
    Packet *packet = group->packet[k];
    const uint8_t *sample = arena.data + packet->number_start + SAMPLE_OFFSET;
    bool is_sealed = seal_payload(packets, arena, packet, keys, &group->one_time[k]) &&
                     begin_mask(packets, keys, sample, &group->mask[k]);
    packet->result = is_sealed ? 0 : FAILED;
    if (!is_sealed) packets->ssl.ERR_clear_error();
  }
  chacha_blocks(group->mask);
  for (int k = 0; k < LANES; k++)
    if (group->is_usual[k] && group->packet[k]->result == 0)
      protect_header(arena, group->packet[k], group->mask[k].output);
}

size_t packets_seal(Packets *packets, Memory arena, Memory table, size_t count, Memory keys) {
  size_t done = 0;
  for (size_t first = 0; first < count; first += LANES) {
    Group group = {0};
    for (size_t k = 0; k < LANES && first + k < count; k++) {
      Packet *packet = (Packet *)table.data + first + k;
      Keys *row = keys_of(keys, packet);
      bool is_usual = row != NULL && arena.bytes >= TAG_BYTES && packet->number_high >= 0 &&
                      lies_within(packet, arena.bytes - TAG_BYTES, SAMPLE_OFFSET);
      packet->result = LEFT;
      if (!is_usual) continue;
      group.packet[k] = packet;
      group.keys[k] = row;
      group.is_usual[k] = true;
      begin_one_time(packets, row, number_of(packet), &group.one_time[k]);
      done++;
    }
    seal_group(packets, arena, &group);
  }
  return done;
}

/* ---- opening ---- */

/* What the mask uncovers of a header. */
typedef struct {
  uint8_t first;
  int number_bytes;
  uint32_t truncated;
} Header;

static Header uncover(Memory arena, const Packet *packet, const uint8_t *mask) {
  const uint8_t *number_at = arena.data + packet->number_start;
  uint8_t covered = arena.data[packet->start];
  Header header = {.first = covered ^ (mask[0] & masked_bits(covered))};
  header.number_bytes = (header.first & NUMBER_LENGTH_BITS) + 1;
  for (int i = 0; i < header.number_bytes; i++) header.truncated = header.truncated << 8 | (number_at[i] ^ mask[1 + i]);
  return header;
}

/* The whole number whose low bytes are those: the one closest to the number expected next (RFC 9000 appendix A.3). */
static int64_t decode_number(Header header, int64_t largest) {
  int64_t expected = largest + 1;
  int64_t window = INT64_C(1) << 8 * header.number_bytes;
  int64_t candidate = expected - expected % window + header.truncated;
  if (candidate <= expected - window / 2 && candidate + window <= NUMBER_MAX) return candidate + window;
  if (candidate > expected + window / 2 && candidate >= window) return candidate - window;
  return candidate;
}

/* A packet's number is known for sure when those before it are opened; all but always it is what it is if all of them open. */
static void guess_numbers(const Packets *packets, Memory arena, Group *group) {
  for (int k = 0; k < LANES; k++) {
    if (!group->is_usual[k]) continue;
    const Keys *keys = group->keys[k];
    int64_t largest = (int64_t)keys->largest;
    if (k > 0 && group->keys[k - 1] == keys && group->number[k - 1] > largest) largest = group->number[k - 1];
    group->number[k] = decode_number(uncover(arena, group->packet[k], group->mask[k].output), largest);
    begin_one_time(packets, keys, group->number[k], &group->one_time[k]);
  }
  chacha_blocks(group->one_time);
}

static bool open_payload(Packets *packets, uint8_t *header, uint8_t *payload, uint8_t *tag, const Keys *keys,
                         int64_t number, const Block *one_time) {
  if (one_time->key != NULL) {
    uint8_t right[TAG_BYTES];
    poly1305(packets, one_time, header, payload, tag, right);
    if (!is_same_tag(right, tag)) return false;
    chacha(&packets->primitives, one_time, payload, (size_t)(tag - payload));
    return true;
  }
  EVP_CIPHER_CTX *context = begin(packets, packets->opening, keys, number);
  return context != NULL && packets->ssl.EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, tag) == 1 &&
         run(&packets->ssl, context, header, payload, tag);
}

static int32_t open_packet(Packets *packets, Memory arena, Group *group, int k) {
  Packet *packet = group->packet[k];
  Keys *keys = group->keys[k];
  uint8_t *header = arena.data + packet->start;
  uint8_t *number_at = arena.data + packet->number_start;
  const uint8_t *mask = group->mask[k].output;
  Header found = uncover(arena, packet, mask);
  bool is_long = (found.first & LONG_FORM) != 0;
  if (!is_long && (found.first & PHASE_BIT) >> 2 != keys->phase) return LEFT;
  header[0] = found.first;
  for (int i = 0; i < found.number_bytes; i++) number_at[i] ^= mask[1 + i];
  int64_t number = decode_number(found, (int64_t)keys->largest);
  if (number > NUMBER_MAX) return FAILED;
  if (number != group->number[k]) {
    Block alone[LANES] = {{0}};
    begin_one_time(packets, keys, number, &alone[0]);
    chacha_blocks(alone);
    group->one_time[k] = alone[0];
  }
  uint8_t *payload = number_at + found.number_bytes;
  uint8_t *tag = arena.data + packet->end - TAG_BYTES;
  if (!open_payload(packets, header, payload, tag, keys, number, &group->one_time[k])) return FAILED;
  packet->number_low = (uint32_t)number;
  packet->number_high = (int32_t)(number >> 32);
  packet->payload_start = packet->number_start + found.number_bytes;
  if ((double)number > keys->largest) keys->largest = (double)number;
  return found.first & (is_long ? LONG_RESERVED_BIT : SYMBOL_BIT | RESERVED_BIT);
}

static size_t open_group(Packets *packets, Memory arena, Group *group) {
  size_t done = 0;
  chacha_blocks(group->mask);
  guess_numbers(packets, arena, group);
  for (int k = 0; k < LANES; k++) {
    Keys *keys = group->keys[k];
    if (keys == NULL) continue;
    if (!group->is_usual[k]) keys->is_left = 1;
    if (keys->is_left != 0) continue;
    int32_t result = open_packet(packets, arena, group, k);
    group->packet[k]->result = result;
    if (result == FAILED) packets->ssl.ERR_clear_error();
    if (result == LEFT) keys->is_left = 1;
    else done++;
  }
  return done;
}

size_t packets_open(Packets *packets, Memory arena, Memory table, size_t count, Memory keys) {
  size_t done = 0;
  for (size_t first = 0; first < count; first += LANES) {
    Group group = {0};
    for (size_t k = 0; k < LANES && first + k < count; k++) {
      Packet *packet = (Packet *)table.data + first + k;
      Keys *row = keys_of(keys, packet);
      packet->result = LEFT;
      group.packet[k] = packet;
      group.keys[k] = row;
      group.is_usual[k] = row != NULL && row->is_left == 0 && row->largest >= -1 && row->largest <= (double)NUMBER_MAX &&
                          lies_within(packet, arena.bytes, SAMPLE_OFFSET + SAMPLE_BYTES) &&
                          begin_mask(packets, row, arena.data + packet->number_start + SAMPLE_OFFSET, &group.mask[k]);
    }
    done += open_group(packets, arena, &group);
  }
  return done;
}
