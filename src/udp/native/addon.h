/*
 * What the parts of the addon share. addon.c is the module and checks what JavaScript hands over; packets.c seals and opens packets, and knows
 * nothing of JavaScript; socket.c has the sockets. Everything that is kept between calls hangs on the environment: each worker thread loads an addon of its own.
 */
#ifndef JSP_ADDON_H
#define JSP_ADDON_H

#define NAPI_VERSION 8
#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- arguments ---- */

/* Memory of a typed array, valid during the call. */
typedef struct {
  uint8_t *data;
  size_t bytes;
} Memory;

/* Reads `count` arguments. False, and a TypeError is pending, when there are fewer. */
bool read_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *arguments);
/* Typed arrays whose memory no other thread has. False, and a TypeError that names the argument is pending, for anything else. */
bool read_bytes(napi_env env, napi_value value, const char *name, Memory *memory);
bool read_int32s(napi_env env, napi_value value, const char *name, Memory *memory);
bool read_doubles(napi_env env, napi_value value, const char *name, Memory *memory);
/* The memory of packets. Of memory that is shared there are no bytes: its packets are left to JavaScript. */
bool read_arena(napi_env env, napi_value value, Memory *memory);
/* A whole number from 0 to `most`. False, and a RangeError is pending, for anything else. */
bool read_count(napi_env env, napi_value value, const char *name, size_t most, size_t *count);
/* Adds a function to what the module exports. False when that failed. */
bool export_function(napi_env env, napi_value exports, const char *name, napi_callback function);

/* ---- packets ---- */

typedef struct Packets Packets;

/* Null, and `*missing` names what it is, when this process has no such OpenSSL. */
Packets *packets_new(const char **missing);
void packets_free(Packets *packets);
/* See packets.c for the tables. Both answer how many packets were not left. */
size_t packets_seal(Packets *packets, Memory arena, Memory table, size_t count, Memory keys);
size_t packets_open(Packets *packets, Memory arena, Memory table, size_t count, Memory keys);
/* Nothing of these keys is kept any longer. */
void packets_forget(Packets *packets, Memory keys);

/* Bytes of a packet's row in the table. */
#define PACKET_ROW_BYTES 32

/* ---- sockets ---- */

/* Adds an object `sockets` with the functions of socket.c, or null where the process has no libuv that it knows. False when that failed. */
bool sockets_export(napi_env env, napi_value exports);

#endif
