/*
 * The module: what JavaScript may call. Nothing that it hands over is believed; offsets and lengths within tables are checked where they are
 * used. A call is synchronous, so that memory stays where it is until it returns.
 */
#include "addon.h"

#include <stdlib.h>

#define NOT_SHARED " of memory that is not shared"

typedef struct {
  Packets *packets;
} Addon;

/* ---- arguments ---- */

static bool type_error(napi_env env, const char *name, const char *what) {
  char message[160];
  size_t at = 0;
  for (const char *from = name; *from != '\0' && at < 60; from++) message[at++] = *from;
  for (const char *from = what; *from != '\0' && at < sizeof message - 1; from++) message[at++] = *from;
  message[at] = '\0';
  napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message);
  return false;
}

bool read_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *arguments) {
  size_t given = count;
  if (napi_get_cb_info(env, info, &given, arguments, NULL, NULL) != napi_ok || given < count)
    return type_error(env, "the addon", " was called with too few arguments");
  return true;
}

/* `*is_own` is false for memory that is shared: it could change between a check and its use. */
static bool is_typed_array(napi_env env, napi_value value, napi_typedarray_type wanted, size_t element_bytes,
                           Memory *memory, bool *is_own) {
  napi_typedarray_type type;
  size_t length;
  void *data;
  napi_value buffer;
  if (napi_get_typedarray_info(env, value, &type, &length, &data, &buffer, NULL) != napi_ok || type != wanted ||
      napi_is_arraybuffer(env, buffer, is_own) != napi_ok)
    return false;
  memory->data = data;
  memory->bytes = data == NULL ? 0 : length * element_bytes;
  return true;
}

static bool read_typed_array(napi_env env, napi_value value, napi_typedarray_type wanted, size_t element_bytes,
                             const char *name, const char *what, Memory *memory) {
  bool is_own = false;
  return (is_typed_array(env, value, wanted, element_bytes, memory, &is_own) && is_own) || type_error(env, name, what);
}

bool read_bytes(napi_env env, napi_value value, const char *name, Memory *memory) {
  return read_typed_array(env, value, napi_uint8_array, 1, name, " must be a Uint8Array" NOT_SHARED, memory);
}

bool read_int32s(napi_env env, napi_value value, const char *name, Memory *memory) {
  return read_typed_array(env, value, napi_int32_array, 4, name, " must be an Int32Array" NOT_SHARED, memory);
}

bool read_doubles(napi_env env, napi_value value, const char *name, Memory *memory) {
  return read_typed_array(env, value, napi_float64_array, 8, name, " must be a Float64Array" NOT_SHARED, memory);
}

bool read_arena(napi_env env, napi_value value, Memory *memory) {
  bool is_own = false;
  if (!is_typed_array(env, value, napi_uint8_array, 1, memory, &is_own))
    return type_error(env, "arena", " must be a Uint8Array");
  if (!is_own) memory->bytes = 0;
  return true;
}

bool read_count(napi_env env, napi_value value, const char *name, size_t most, size_t *count) {
  double number;
  if (napi_get_value_double(env, value, &number) != napi_ok) return type_error(env, name, " must be a number");
  if (!(number >= 0) || number > (double)most || number != (double)(size_t)number) {
    napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "a count must be a whole number within its table");
    return false;
  }
  *count = (size_t)number;
  return true;
}

/* ---- what it offers ---- */

/* Works on a batch of packets: (arena: Uint8Array, table: Int32Array, count: number, keys: Float64Array) => number */
static napi_value call_with_packets(napi_env env, napi_callback_info info,
                                    size_t (*work)(Packets *, Memory, Memory, size_t, Memory)) {
  napi_value arguments[4];
  Memory arena;
  Memory table;
  Memory keys;
  size_t count;
  Addon *addon;
  napi_value result;
  if (!read_arguments(env, info, 4, arguments) || !read_arena(env, arguments[0], &arena) ||
      !read_int32s(env, arguments[1], "table", &table) ||
      !read_count(env, arguments[2], "count", table.bytes / PACKET_ROW_BYTES, &count) ||
      !read_doubles(env, arguments[3], "keys", &keys) || napi_get_instance_data(env, (void **)&addon) != napi_ok)
    return NULL;
  size_t done = work(addon->packets, arena, table, count, keys);
  return napi_create_uint32(env, (uint32_t)done, &result) == napi_ok ? result : NULL;
}

static napi_value seal(napi_env env, napi_callback_info info) { return call_with_packets(env, info, packets_seal); }

static napi_value open(napi_env env, napi_callback_info info) { return call_with_packets(env, info, packets_open); }

/* Lets go of keys: (keys: Float64Array) */
static napi_value forget(napi_env env, napi_callback_info info) {
  napi_value argument;
  Memory keys;
  Addon *addon;
  if (read_arguments(env, info, 1, &argument) && read_doubles(env, argument, "keys", &keys) &&
      napi_get_instance_data(env, (void **)&addon) == napi_ok)
    packets_forget(addon->packets, keys);
  return NULL;
}

/* ---- the module ---- */

bool export_function(napi_env env, napi_value exports, const char *name, napi_callback function) {
  napi_value value;
  return napi_create_function(env, name, NAPI_AUTO_LENGTH, function, NULL, &value) == napi_ok &&
         napi_set_named_property(env, exports, name, value) == napi_ok;
}

static void forget_addon(napi_env env, void *data, void *hint) {
  Addon *addon = data;
  (void)env;
  (void)hint;
  packets_free(addon->packets);
  free(addon);
}

NAPI_MODULE_INIT(/* napi_env env, napi_value exports */) {
  const char *missing = "memory";
  Addon *addon = calloc(1, sizeof *addon);
  if (addon == NULL || (addon->packets = packets_new(&missing)) == NULL) {
    free(addon);
    type_error(env, missing, " is not there, of which the addon makes use");
    return NULL;
  }
  if (napi_set_instance_data(env, addon, forget_addon, NULL) != napi_ok) {
    forget_addon(env, addon, NULL);
    return NULL;
  }
  bool is_whole = export_function(env, exports, "seal", seal) && export_function(env, exports, "open", open) &&
                  export_function(env, exports, "forget", forget) && sockets_export(env, exports);
  return is_whole ? exports : NULL;
}
