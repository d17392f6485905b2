/*
 * UDP sockets that take and give whole batches: src/udp/native-socket.ts on this side of the crossing. JavaScript owns all memory and says
 * where in it things are: tables with a row for each message, and arenas with their bytes.
 *
 *   1. `bind` opens, binds and connects, asks the system for what it offers, and begins to poll on Node's event loop;
 *   2. `send` sends rows, each a datagram or a run of equal ones to one destination, which goes as one message (UDP_SEGMENT). What is
 *      refused is told in its row, and does not keep the others from leaving; a full buffer ends the call, which is made again for the rest;
 *   3. when datagrams are there, they are read into the socket's arena, a row for each message (which may be a run, too: UDP_GRO), and
 *      JavaScript is called. One read a wake-up: between any two the loop's timers and other sockets have their turn;
 *   4. `close`, or the end of the thread, stops polling and closes.
 *
 * To JavaScript sockets are numbers, so that no argument can make a pointer of ours dangle. Where recvmmsg and sendmmsg are missing, messages
 * go one by one; where UDP_SEGMENT is refused, the same call goes on with single datagrams.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* sendmmsg, in6_pktinfo */
#endif
#define __APPLE_USE_RFC_3542
#include "addon.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* ---- libuv, declared here: what of it is used is the same in all of version 1 ---- */

typedef struct uv_handle_s uv_handle_t;
enum { UV_POLL = 8, UV_READABLE = 1, UV_WRITABLE = 2 };

#define OF_NODE extern __attribute__((weak))
OF_NODE size_t uv_handle_size(int type);
OF_NODE void uv_handle_set_data(uv_handle_t *, void *);
OF_NODE void *uv_handle_get_data(const uv_handle_t *);
OF_NODE int uv_poll_init(struct uv_loop_s *, uv_handle_t *, int fd);
OF_NODE int uv_poll_start(uv_handle_t *, int events, void (*callback)(uv_handle_t *, int status, int events));
OF_NODE void uv_close(uv_handle_t *, void (*callback)(uv_handle_t *));
OF_NODE void uv_ref(uv_handle_t *);
OF_NODE void uv_unref(uv_handle_t *);

/* ---- what systems and older headers do not have ---- */

#ifdef __linux__
#ifndef SOL_UDP
#define SOL_UDP 17
#endif
#ifndef UDP_GRO
#define UDP_SEGMENT 103
#define UDP_GRO 104
#endif
#else
struct mmsghdr {
  struct msghdr msg_hdr;
  unsigned msg_len;
};
#endif

/* ---- the tables ---- */

typedef struct {
  int32_t family; /* 4 or 6; 0: none */
  int32_t port;
  uint8_t address[16]; /* of IPv4 the first 4 */
  uint32_t zone;       /* the interface of a link-local address */
} Address;

typedef struct {
  Address local;
  Address peer;
  int32_t options;
  int32_t receive_bytes; /* asked for, then granted */
  int32_t send_bytes;
  int32_t failed_at; /* which call was refused */
} Binding;

enum { REUSE_ADDRESS = 1, REUSE_PORT = 2, IPV6_ONLY = 4 };
/* What the system can do and is not to do, for tests and for systems where it does harm. */
enum { NO_SEGMENTS = 8, SEGMENTS_REFUSED = 16, ONE_BY_ONE = 32, NO_RUNS_IN = 64 };
enum { AT_SOCKET, AT_BIND, AT_CONNECT, AT_POLL };

typedef struct {
  int32_t start;
  int32_t length;
  int32_t segment; /* length of the datagrams of a run, of which the last may be shorter; 0: it is one datagram */
  int32_t ecn;
  Address to;
  Address from; /* which address of this machine; family 0: as the system sees fit */
  /* Written; zero at first. */
  int32_t done;    /* bytes that were taken or refused */
  int32_t refused; /* datagrams that were, and their bytes, and the errno of the last */
  int32_t refused_bytes;
  int32_t refusal;
  int32_t news; /* errno of an earlier datagram, of which the system told now */
  int32_t state;
} Outgoing;

enum { IS_SPLIT = 1, IS_FROM_ANYWHERE = 2, IS_REPEATED = 4, IS_OVER = 8, IS_CROWDED_OUT = 16 };

typedef struct {
  int32_t start;
  int32_t length;
  int32_t segment; /* as above */
  int32_t ecn;
  Address from;
  Address to;
  int32_t age_us; /* since it came */
  int32_t is_cut; /* it, or what is known of it, was larger than the room for it */
} Incoming;

typedef struct {
  int32_t overflows; /* datagrams that the system dropped for want of room, since the socket is open */
  int32_t unused[3];
  Incoming rows[];
} IncomingTable;

_Static_assert(sizeof(Address) == 28 && sizeof(Binding) == 72 && sizeof(Outgoing) == 96 && sizeof(Incoming) == 80,
               "rows are what JavaScript makes them");

enum {
  SLOT_BYTES = 65536 + 64, /* the largest datagram; and no two slots begin in the same set of a cache */
  MESSAGES_MAX = 64,       /* in one call of the system */
  READ_BYTES = 256 * 1024, /* some that are read in one call, so that they are still in the cache when they are looked at */
  SEGMENTS_MAX = 64,       /* UDP_MAX_SEGMENTS of Linux before 6.9 */
  RUN_BYTES_MAX = 65487,   /* with the headers of IPv6 */
  CONTROL_BYTES = 256,
  REST_MAX = 1 << 16,
};

/* ---- sockets of a thread ---- */

typedef struct Sockets Sockets;

typedef struct {
  Sockets *sockets;
  uv_handle_t *poll;
  int number;
  int file;
  int family;
  int options;
  bool is_connected;
  bool is_wildcard;
  bool is_closed;
  /* What the system told last of datagrams that it dropped; it tells nothing while there are none. */
  int32_t overflows;
  /* Messages to read in one call. */
  int messages_read;
  /* Runs that go as single datagrams before UDP_SEGMENT is tried again; and how many after the next refusal. */
  int rest;
  int next_rest;
  /* What is kept for JavaScript. */
  napi_ref arena;
  napi_ref table;
  napi_ref callback;
  napi_async_context context;
  napi_async_cleanup_hook_handle cleanup;
} Socket;

struct Sockets {
  napi_env env;
  struct uv_loop_s *loop;
  Socket **by_number;
  int room;
  /* No number below is free. */
  int lowest;
};

/* ---- addresses ---- */

typedef union {
  struct sockaddr any;
  struct sockaddr_in ipv4;
  struct sockaddr_in6 ipv6;
} SystemAddress;

static socklen_t to_system(const Address *address, int family, SystemAddress *out) {
  memset(out, 0, sizeof *out);
  const uint16_t port = htons((uint16_t)address->port);
  if (family == 4) {
    out->ipv4.sin_family = AF_INET;
    out->ipv4.sin_port = port;
    memcpy(&out->ipv4.sin_addr, address->address, 4);
    return sizeof out->ipv4;
  }
  out->ipv6.sin6_family = AF_INET6;
  out->ipv6.sin6_port = port;
  uint8_t *bytes = out->ipv6.sin6_addr.s6_addr;
  if (address->family == 4) {
    memset(bytes + 10, 0xff, 2);
    memcpy(bytes + 12, address->address, 4);
  } else {
    memcpy(bytes, address->address, 16);
    out->ipv6.sin6_scope_id = address->zone;
  }
  return sizeof out->ipv6;
}

static Address of_ipv4(const struct in_addr *address, int port) {
  Address out = {.family = 4, .port = port};
  memcpy(out.address, address, 4);
  return out;
}

/* IPv4 in IPv6's clothes is IPv4, and only link-local addresses have a zone. */
static Address of_ipv6(const struct in6_addr *address, int port, uint32_t zone) {
  const bool is_mapped = IN6_IS_ADDR_V4MAPPED(address);
  Address out = {.family = is_mapped ? 4 : 6, .port = port};
  memcpy(out.address, &address->s6_addr[is_mapped ? 12 : 0], is_mapped ? 4 : 16);
  if (IN6_IS_ADDR_LINKLOCAL(address)) out.zone = zone;
  return out;
}

static Address of_system(const SystemAddress *address) {
  if (address->any.sa_family == AF_INET6)
    return of_ipv6(&address->ipv6.sin6_addr, ntohs(address->ipv6.sin6_port), address->ipv6.sin6_scope_id);
  return of_ipv4(&address->ipv4.sin_addr, ntohs(address->ipv4.sin_port));
}

/* ---- send ---- */

/* Messages for one call of the system, and what part of which row each is. */
typedef struct {
  struct mmsghdr messages[MESSAGES_MAX];
  struct iovec bytes[MESSAGES_MAX];
  SystemAddress to[MESSAGES_MAX];
  size_t row[MESSAGES_MAX];
  _Alignas(struct cmsghdr) char control[MESSAGES_MAX][CONTROL_BYTES];
} Window;

static void put_control(struct msghdr *message, int level, int type, const void *value, size_t bytes) {
  struct cmsghdr *control = (struct cmsghdr *)((char *)message->msg_control + message->msg_controllen);
  memset(control, 0, CMSG_SPACE(bytes));
  control->cmsg_level = level;
  control->cmsg_type = type;
  control->cmsg_len = CMSG_LEN(bytes);
  memcpy(CMSG_DATA(control), value, bytes);
  message->msg_controllen += CMSG_SPACE(bytes);
}

static void put_source(struct msghdr *message, const Address *from) {
  if (from->family == 4) {
    struct in_pktinfo info = {0};
    memcpy(&info.ipi_spec_dst, from->address, 4);
    put_control(message, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
  } else {
    struct in6_pktinfo info = {0};
    memcpy(&info.ipi6_addr, from->address, 16);
    info.ipi6_ifindex = from->zone;
    put_control(message, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
  }
}

/* How many bytes of a row, of which `done` are dealt with, go as one message. */
static int32_t message_bytes(const Socket *socket, const Outgoing *row, int32_t done) {
  const int32_t left = row->length - done;
  if (row->segment == 0 || left <= row->segment) return left;
  if (row->state & IS_SPLIT || socket->rest > 0 || socket->options & NO_SEGMENTS) return row->segment;
  const int32_t most = RUN_BYTES_MAX / row->segment;
  const int32_t run = (most < 1 ? 1 : most > SEGMENTS_MAX ? SEGMENTS_MAX : most) * row->segment;
  return left < run ? left : run;
}

static bool is_run(const Outgoing *row, size_t bytes) { return row->segment != 0 && bytes > (size_t)row->segment; }

/* Fills the window with the messages that come next: how many. */
static size_t fill_window(const Socket *socket, Window *window, uint8_t *arena, const Outgoing *rows, size_t first,
                          size_t count) {
  size_t filled = 0;
  for (size_t i = first; i < count && filled < MESSAGES_MAX; i++) {
    const Outgoing *row = &rows[i];
    if (row->state & IS_OVER) continue;
    int32_t done = row->done;
    do {
      struct msghdr *message = &window->messages[filled].msg_hdr;
      struct iovec *bytes = &window->bytes[filled];
      bytes->iov_base = arena + row->start + done;
      bytes->iov_len = (size_t)message_bytes(socket, row, done);
      *message = (struct msghdr){.msg_iov = bytes, .msg_iovlen = 1, .msg_control = window->control[filled]};
      if (!socket->is_connected) {
        message->msg_name = &window->to[filled];
        message->msg_namelen = to_system(&row->to, socket->family, &window->to[filled]);
      }
      if (row->from.family != 0 && !(row->state & IS_FROM_ANYWHERE)) put_source(message, &row->from);
      if (row->ecn != 0) {
        const bool is_ipv4 = row->to.family == 4;
        put_control(message, is_ipv4 ? IPPROTO_IP : IPPROTO_IPV6, is_ipv4 ? IP_TOS : IPV6_TCLASS, &row->ecn, sizeof(int));
      }
#ifdef __linux__
      const uint16_t segment = (uint16_t)row->segment;
      if (is_run(row, bytes->iov_len)) put_control(message, SOL_UDP, UDP_SEGMENT, &segment, sizeof segment);
#endif
      if (message->msg_controllen == 0) message->msg_control = NULL;
      window->row[filled++] = i;
      done += (int32_t)bytes->iov_len;
    } while (done < row->length && filled < MESSAGES_MAX);
  }
  return filled;
}

/* How many messages the system took; -1 and errno when it refused the first. */
static int send_messages(Socket *socket, struct mmsghdr *messages, size_t count, bool begins_with_run) {
  if (begins_with_run && socket->options & SEGMENTS_REFUSED) {
    errno = EIO;
    return -1;
  }
#ifdef __linux__
  if (!(socket->options & (ONE_BY_ONE | SEGMENTS_REFUSED))) {
    const int sent = sendmmsg(socket->file, messages, (unsigned)count, 0);
    if (sent >= 0 || errno != ENOSYS) return sent;
    socket->options |= ONE_BY_ONE;
  }
#endif
  (void)count;
  return sendmsg(socket->file, &messages[0].msg_hdr, 0) < 0 ? -1 : 1;
}

static void refuse(Outgoing *row, int32_t bytes, int error) {
  row->refused += row->segment == 0 ? 1 : (bytes + row->segment - 1) / row->segment;
  row->refused_bytes += bytes;
  row->refusal = error;
  row->done += bytes;
  if (row->done == row->length) row->state |= IS_OVER;
}

/* What ICMP answers to an earlier datagram comes as an error of the next one, which is not tried. */
static bool may_be_news(int error) {
  return error == ECONNREFUSED || error == EHOSTUNREACH || error == ENETUNREACH || error == EPROTO ||
         error == EHOSTDOWN || error == ENOPROTOOPT || error == ECONNRESET || error == EMSGSIZE;
}

/* The system did not take `bytes` of a row as one message: they go in another way, or count as refused. */
static void on_refused(Socket *socket, Outgoing *row, size_t bytes, int error) {
  const bool has_source = row->from.family != 0 && !(row->state & IS_FROM_ANYWHERE);
  if (socket->is_connected && may_be_news(error) && !(row->state & IS_REPEATED)) {
    row->state |= IS_REPEATED;
    row->news = error;
  } else if (is_run(row, bytes) && (error == EINVAL || error == EIO || error == EMSGSIZE || error == EOPNOTSUPP)) {
    row->state |= IS_SPLIT; /* where it is not for the run as such, its datagrams will tell */
    if (error == EMSGSIZE || (error == EINVAL && has_source)) return;
    socket->rest = socket->next_rest;
    if (socket->next_rest < REST_MAX) socket->next_rest *= 2;
  } else if (has_source && (error == EINVAL || error == EADDRNOTAVAIL || error == ENODEV || error == ENETUNREACH)) {
    row->state |= IS_FROM_ANYWHERE; /* this machine has that address no more */
  } else {
    /* Where it is not for its size, the rest of the row would fare the same. */
    refuse(row, error == EMSGSIZE ? (int32_t)bytes : row->length - row->done, error);
    if (row->news == error) row->news = 0;
  }
}

static void on_taken(Socket *socket, Outgoing *row, size_t bytes) {
  row->done += (int32_t)bytes;
  if (row->done == row->length) row->state |= IS_OVER;
  if (is_run(row, bytes)) socket->next_rest = 1;
  else if (row->segment != 0 && row->state & IS_OVER && socket->rest > 0) socket->rest--;
}

/* Sends rows from `first` on. Returns the first that is not over, as the system has no room for it now, or `count`. */
static size_t send_rows(Socket *socket, uint8_t *arena, Outgoing *rows, size_t first, size_t count) {
  Window window;
  while (first < count) {
    if (rows[first].state & IS_OVER) {
      first++;
      continue;
    }
    const size_t filled = fill_window(socket, &window, arena, rows, first, count);
    const int sent = send_messages(socket, window.messages, filled, is_run(&rows[first], window.bytes[0].iov_len));
    for (int i = 0; i < sent; i++) on_taken(socket, &rows[window.row[i]], window.bytes[i].iov_len);
    if (sent >= 0 || errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return first;
    if (errno == ENOBUFS) {
      rows[first].state |= IS_CROWDED_OUT; /* not by us: no poll will tell when there is room */
      return first;
    }
    on_refused(socket, &rows[first], window.bytes[0].iov_len, errno);
  }
  return first;
}

/* ---- receive ---- */

static void read_control(struct msghdr *message, Incoming *row, int32_t *overflows, const struct timespec *now) {
  for (struct cmsghdr *control = CMSG_FIRSTHDR(message); control != NULL; control = CMSG_NXTHDR(message, control)) {
    const int level = control->cmsg_level;
    const int type = control->cmsg_type;
    const void *data = CMSG_DATA(control);
    if (level == IPPROTO_IP && type == IP_PKTINFO) {
      struct in_pktinfo info;
      memcpy(&info, data, sizeof info);
      row->to = of_ipv4(&info.ipi_spec_dst, 0);
    } else if (level == IPPROTO_IPV6 && type == IPV6_PKTINFO) {
      struct in6_pktinfo info;
      memcpy(&info, data, sizeof info);
      /* On Linux, IPv4 has its own besides, which names one of this machine's addresses also where a broadcast came. */
      if (!IN6_IS_ADDR_V4MAPPED(&info.ipi6_addr)) row->to = of_ipv6(&info.ipi6_addr, 0, info.ipi6_ifindex);
    } else if (level == IPPROTO_IP && (type == IP_TOS || type == IP_RECVTOS)) {
      row->ecn = *(const uint8_t *)data & 3;
    } else if (level == IPPROTO_IPV6 && type == IPV6_TCLASS) {
      int traffic_class;
      memcpy(&traffic_class, data, sizeof traffic_class);
      row->ecn = traffic_class & 3;
    }
#ifdef __linux__
    else if (level == SOL_UDP && type == UDP_GRO) {
      int segment;
      memcpy(&segment, data, sizeof segment);
      if (segment > 0 && segment < row->length) row->segment = segment;
    } else if (level == SOL_SOCKET && type == SO_RXQ_OVFL) {
      memcpy(overflows, data, sizeof *overflows);
    } else if (level == SOL_SOCKET && type == SO_TIMESTAMPNS) {
      struct timespec came;
      memcpy(&came, data, sizeof came);
      const int64_t age_us = (now->tv_sec - came.tv_sec) * 1000000LL + (now->tv_nsec - came.tv_nsec) / 1000;
      /* Less than nothing, or very much: the time of day was set meanwhile. */
      row->age_us = age_us > 0 && age_us < 10000000 ? (int32_t)age_us : 0;
    }
#endif
  }
  (void)overflows;
  (void)now;
}

/* As many messages as were there, at most `room`; -1 and errno when there was none. */
static int read_messages(Socket *socket, struct mmsghdr *messages, int room) {
#ifdef __linux__
  if (!(socket->options & ONE_BY_ONE)) {
    const int count = recvmmsg(socket->file, messages, (unsigned)room, MSG_DONTWAIT, NULL);
    if (count >= 0 || errno != ENOSYS) return count;
    socket->options |= ONE_BY_ONE;
  }
#endif
  int count = 0;
  for (; count < room; count++) {
    const ssize_t bytes = recvmsg(socket->file, &messages[count].msg_hdr, MSG_DONTWAIT);
    if (bytes < 0) break; /* what it tells is lost where datagrams came before, as with recvmmsg it would be told later */
    messages[count].msg_len = (unsigned)bytes;
  }
  return count == 0 ? -1 : count;
}

/* Reads into the slots of the arena and the rows of the table: how many; -1 and errno when nothing was there. */
static int receive(Socket *socket, Memory arena, Memory table) {
  struct mmsghdr messages[MESSAGES_MAX];
  struct iovec bytes[MESSAGES_MAX];
  SystemAddress from[MESSAGES_MAX];
  _Alignas(struct cmsghdr) char control[MESSAGES_MAX][CONTROL_BYTES];
  IncomingTable *incoming = (IncomingTable *)table.data;
  int room = socket->messages_read;
  if (arena.bytes / SLOT_BYTES < (size_t)room) room = (int)(arena.bytes / SLOT_BYTES);
  if (room == 0 || table.bytes < sizeof *incoming + (size_t)room * sizeof(Incoming)) {
    errno = EFAULT; /* somebody took the memory away */
    return -1;
  }
  for (int i = 0; i < room; i++) {
    bytes[i] = (struct iovec){.iov_base = arena.data + (size_t)i * SLOT_BYTES, .iov_len = SLOT_BYTES};
    messages[i].msg_hdr = (struct msghdr){.msg_name = &from[i],
                                          .msg_namelen = sizeof from[i],
                                          .msg_iov = &bytes[i],
                                          .msg_iovlen = 1,
                                          .msg_control = control[i],
                                          .msg_controllen = CONTROL_BYTES};
  }
  const int count = read_messages(socket, messages, room);
  if (count <= 0) return count;
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  int64_t sum = 0;
  for (int i = 0; i < count; i++) {
    const struct msghdr *message = &messages[i].msg_hdr;
    Incoming *row = &incoming->rows[i];
    *row = (Incoming){.start = i * SLOT_BYTES,
                      .length = (int32_t)messages[i].msg_len,
                      .from = of_system(&from[i]),
                      .is_cut = (message->msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0};
    read_control(&messages[i].msg_hdr, row, &socket->overflows, &now);
    sum += row->length;
  }
  incoming->overflows = socket->overflows;
  const int64_t next = sum == 0 ? MESSAGES_MAX : (int64_t)READ_BYTES * count / sum;
  socket->messages_read = next > MESSAGES_MAX ? MESSAGES_MAX : next < 1 ? 1 : (int)next;
  return count;
}

/* ---- the event loop ---- */

static void on_poll(uv_handle_t *poll, int status, int events);

static int start_poll(Socket *socket, bool is_writable_wanted) {
  return uv_poll_start(socket->poll, UV_READABLE | (is_writable_wanted ? UV_WRITABLE : 0), on_poll);
}

static bool memory_of(napi_env env, napi_ref reference, Memory *memory) {
  napi_value value;
  napi_typedarray_type type;
  size_t length;
  void *data;
  if (napi_get_reference_value(env, reference, &value) != napi_ok || value == NULL ||
      napi_get_typedarray_info(env, value, &type, &length, &data, NULL, NULL) != napi_ok)
    return false;
  *memory = (Memory){.data = data, .bytes = data == NULL ? 0 : length * (type == napi_int32_array ? sizeof(int32_t) : 1)};
  return true;
}

/* Calls (received: number, isWritable: boolean) => void; `received` is how many rows there are, or an errno, negative. */
static void call_back(Socket *socket, int received, bool is_writable) {
  napi_env env = socket->sockets->env;
  napi_value callback;
  napi_value receiver;
  napi_value arguments[2];
  napi_value error;
  if (napi_get_reference_value(env, socket->callback, &callback) != napi_ok || callback == NULL ||
      napi_get_global(env, &receiver) != napi_ok || napi_create_int32(env, received, &arguments[0]) != napi_ok ||
      napi_get_boolean(env, is_writable, &arguments[1]) != napi_ok)
    return;
  if (napi_make_callback(env, socket->context, receiver, callback, 2, arguments, NULL) != napi_pending_exception) return;
  if (napi_get_and_clear_last_exception(env, &error) == napi_ok) napi_fatal_exception(env, error);
}

/* libuv tells of an error that waits in a socket as EBADF, and stops polling. */
static void on_poll(uv_handle_t *poll, int status, int events) {
  Socket *socket = uv_handle_get_data(poll);
  napi_env env = socket->sockets->env;
  napi_handle_scope scope;
  Memory arena;
  Memory table;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  int received = 0;
  const bool is_writable = status >= 0 && (events & UV_WRITABLE) != 0;
  /* Only who waits for that is told, and waits again if need be. */
  if (status < 0 || is_writable) start_poll(socket, false);
  if ((status < 0 || events & UV_READABLE) && memory_of(env, socket->arena, &arena) &&
      memory_of(env, socket->table, &table)) {
    received = receive(socket, arena, table);
    if (received < 0) received = errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : -errno;
  }
  if (received != 0 || is_writable || status < 0) call_back(socket, received, is_writable || status < 0);
  napi_close_handle_scope(env, scope);
}

static void free_number(Sockets *sockets, int number) {
  sockets->by_number[number] = NULL;
  if (number < sockets->lowest) sockets->lowest = number;
}

static void forget_socket(uv_handle_t *poll) {
  Socket *socket = uv_handle_get_data(poll);
  if (socket->cleanup != NULL) napi_remove_async_cleanup_hook(socket->cleanup);
  free(poll);
  free(socket);
}

static void close_socket(Socket *socket) {
  if (socket->is_closed) return;
  socket->is_closed = true;
  napi_env env = socket->sockets->env;
  free_number(socket->sockets, socket->number);
  napi_delete_reference(env, socket->arena);
  napi_delete_reference(env, socket->table);
  napi_delete_reference(env, socket->callback);
  napi_async_destroy(env, socket->context);
  uv_close(socket->poll, forget_socket);
  close(socket->file);
}

/* The thread ends. */
static void on_end(napi_async_cleanup_hook_handle handle, void *data) {
  (void)handle;
  close_socket(data);
}

/* ---- bind ---- */

static bool set_option(int file, int level, int option, int value) {
  return setsockopt(file, level, option, &value, sizeof value) == 0;
}

/* Some systems grant less than was asked for; others refuse, and are asked for half of it, again and again. */
static int32_t grow(int file, int option, int32_t wanted) {
  int now = 0;
  socklen_t bytes = sizeof now;
  getsockopt(file, SOL_SOCKET, option, &now, &bytes);
  for (; wanted > now && !set_option(file, SOL_SOCKET, option, wanted); wanted /= 2);
  getsockopt(file, SOL_SOCKET, option, &now, &bytes);
  return now;
}

/* Each of these makes something better, and nothing depends on any. */
static void ask_for_all(Socket *socket) {
  const int file = socket->file;
  const bool is_ipv6 = socket->family == 6;
#ifdef __linux__
  /* An IPv6 socket may have IPv4 peers, too. */
  set_option(file, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
  if (is_ipv6) set_option(file, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
  set_option(file, SOL_SOCKET, SO_RXQ_OVFL, 1);
  set_option(file, SOL_SOCKET, SO_TIMESTAMPNS, 1);
  if (!(socket->options & NO_RUNS_IN)) set_option(file, SOL_UDP, UDP_GRO, 1);
  int segment;
  socklen_t bytes = sizeof segment;
  if (getsockopt(file, SOL_UDP, UDP_SEGMENT, &segment, &bytes) != 0) socket->options |= NO_SEGMENTS;
#else
  socket->options |= NO_SEGMENTS | ONE_BY_ONE;
#ifdef IP_DONTFRAG
  set_option(file, is_ipv6 ? IPPROTO_IPV6 : IPPROTO_IP, is_ipv6 ? IPV6_DONTFRAG : IP_DONTFRAG, 1);
#endif
#endif
  set_option(file, IPPROTO_IP, IP_RECVTOS, 1);
  if (is_ipv6) set_option(file, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
  if (!socket->is_wildcard) return;
  set_option(file, IPPROTO_IP, IP_PKTINFO, 1);
  if (is_ipv6) set_option(file, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
}

static int open_file(int family) {
  const int file = socket(family == 6 ? AF_INET6 : AF_INET, SOCK_DGRAM, 0);
  if (file < 0) return -1;
  if (fcntl(file, F_SETFD, FD_CLOEXEC) == 0 && fcntl(file, F_SETFL, fcntl(file, F_GETFL) | O_NONBLOCK) == 0) return file;
  close(file);
  return -1;
}

static bool is_wildcard(const Address *address) {
  static const uint8_t zeros[16];
  return memcmp(address->address, zeros, address->family == 4 ? 4 : 16) == 0;
}

/* Opens the socket and fills in what was asked for. False and errno when the system refused. */
static bool open_socket(Socket *socket, Binding *binding) {
  SystemAddress address;
  const int family = binding->local.family;
  const int options = binding->options;
  binding->failed_at = AT_SOCKET;
  const int file = socket->file = open_file(family);
  if (file < 0) return false;
  socket->family = family;
  socket->options = options;
  socket->is_connected = binding->peer.family != 0;
  socket->is_wildcard = !socket->is_connected && is_wildcard(&binding->local);
  if (family == 6) set_option(file, IPPROTO_IPV6, IPV6_V6ONLY, (options & IPV6_ONLY) != 0);
  binding->failed_at = AT_BIND;
  if (options & REUSE_ADDRESS && !set_option(file, SOL_SOCKET, SO_REUSEADDR, 1)) return false;
  if (options & REUSE_PORT && !set_option(file, SOL_SOCKET, SO_REUSEPORT, 1)) return false;
  ask_for_all(socket);
  if (bind(file, &address.any, to_system(&binding->local, family, &address)) != 0) return false;
  binding->failed_at = AT_CONNECT;
  if (socket->is_connected && connect(file, &address.any, to_system(&binding->peer, family, &address)) != 0) return false;
  socklen_t bytes = sizeof address;
  if (getsockname(file, &address.any, &bytes) != 0) return false;
  binding->local = of_system(&address);
  if (socket->is_wildcard && family == 6) binding->local.family = 6;
  binding->receive_bytes = grow(file, SO_RCVBUF, binding->receive_bytes);
  binding->send_bytes = grow(file, SO_SNDBUF, binding->send_bytes);
  binding->failed_at = AT_POLL;
  return true;
}

/* The socket has a number of its own while it is open. */
static bool number_socket(Sockets *sockets, Socket *socket) {
  int number = sockets->lowest;
  while (number < sockets->room && sockets->by_number[number] != NULL) number++;
  if (number == sockets->room) {
    const int room = sockets->room == 0 ? 16 : 2 * sockets->room;
    Socket **grown = realloc(sockets->by_number, (size_t)room * sizeof *grown);
    if (grown == NULL) return false;
    memset(grown + sockets->room, 0, (size_t)(room - sockets->room) * sizeof *grown);
    sockets->by_number = grown;
    sockets->room = room;
  }
  socket->number = number;
  sockets->by_number[number] = socket;
  sockets->lowest = number + 1;
  return true;
}

/* Lets a socket go that never was polled. */
static void drop_socket(Socket *socket) {
  napi_env env = socket->sockets->env;
  if (socket->arena != NULL) napi_delete_reference(env, socket->arena);
  if (socket->table != NULL) napi_delete_reference(env, socket->table);
  if (socket->callback != NULL) napi_delete_reference(env, socket->callback);
  if (socket->context != NULL) napi_async_destroy(env, socket->context);
  if (socket->file >= 0) close(socket->file);
  free(socket->poll);
  free(socket);
}

/* ---- what JavaScript calls ---- */

static napi_value to_int32(napi_env env, int32_t value) {
  napi_value result;
  return napi_create_int32(env, value, &result) == napi_ok ? result : NULL;
}

static Sockets *sockets_of(napi_env env, napi_callback_info info) {
  void *data = NULL;
  napi_get_cb_info(env, info, NULL, NULL, NULL, &data);
  return data;
}

/* The open socket of a number; null when there is none. */
static Socket *socket_of(napi_env env, Sockets *sockets, napi_value value) {
  int32_t number;
  if (napi_get_value_int32(env, value, &number) != napi_ok || number < 0 || number >= sockets->room) return NULL;
  return sockets->by_number[number];
}

/* (binding: Int32Array, arena: Uint8Array, table: Int32Array, callback: Function) => its number, or an errno, negative */
static napi_value socket_bind(napi_env env, napi_callback_info info) {
  napi_value arguments[4];
  napi_value name;
  napi_valuetype type;
  Memory binding;
  Memory arena;
  Memory table;
  Sockets *sockets = sockets_of(env, info);
  if (!read_arguments(env, info, 4, arguments) || !read_int32s(env, arguments[0], "binding", &binding) ||
      !read_bytes(env, arguments[1], "arena", &arena) || !read_int32s(env, arguments[2], "table", &table))
    return NULL;
  if (napi_typeof(env, arguments[3], &type) != napi_ok || type != napi_function || binding.bytes < sizeof(Binding)) {
    napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "binding must have all its words, and callback be a function");
    return NULL;
  }
  const Binding *asked = (const Binding *)binding.data;
  if ((asked->local.family != 4 && asked->local.family != 6) ||
      (asked->peer.family != 0 && asked->peer.family != 4 && asked->local.family == 4))
    return to_int32(env, -EAFNOSUPPORT);
  Socket *socket = calloc(1, sizeof *socket);
  if (socket == NULL) return to_int32(env, -ENOMEM);
  socket->sockets = sockets;
  socket->messages_read = MESSAGES_MAX;
  socket->next_rest = 1;
  socket->file = -1;
  errno = ENOMEM;
  if (!open_socket(socket, (Binding *)binding.data) || (socket->poll = calloc(1, uv_handle_size(UV_POLL))) == NULL ||
      napi_create_reference(env, arguments[1], 1, &socket->arena) != napi_ok ||
      napi_create_reference(env, arguments[2], 1, &socket->table) != napi_ok ||
      napi_create_reference(env, arguments[3], 1, &socket->callback) != napi_ok ||
      napi_create_string_utf8(env, "JSPSOCKET", NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_async_init(env, NULL, name, &socket->context) != napi_ok || !number_socket(sockets, socket)) {
    const int error = errno;
    drop_socket(socket);
    return to_int32(env, -error);
  }
  const int failure = uv_poll_init(sockets->loop, socket->poll, socket->file);
  if (failure != 0) {
    free_number(sockets, socket->number);
    drop_socket(socket);
    return to_int32(env, failure);
  }
  uv_handle_set_data(socket->poll, socket);
  napi_add_async_cleanup_hook(env, on_end, socket, &socket->cleanup);
  start_poll(socket, false);
  return to_int32(env, socket->number);
}

static bool is_sound(const Outgoing *row, int family, size_t arena_bytes) {
  return row->start >= 0 && row->length >= 0 && (int64_t)row->start + row->length <= (int64_t)arena_bytes &&
         row->segment >= 0 && row->segment <= UINT16_MAX && row->done >= 0 && row->done <= row->length &&
         row->refused >= 0 && row->refused - 1 <= row->length && row->refused_bytes >= 0 &&
         row->refused_bytes <= row->done &&
         (row->from.family == 0 || row->from.family == 4 || family == 6);
}

/*
 * (number, arena: Uint8Array, rows: Int32Array, first, count) => first row that waits for room, or `count`; -1 for no such socket
 * The rows from `first` on are sent as far as they are not over. Of one that is not sound nothing is sent.
 */
static napi_value socket_send(napi_env env, napi_callback_info info) {
  napi_value arguments[5];
  Memory arena;
  Memory table;
  size_t first;
  size_t count;
  Sockets *sockets = sockets_of(env, info);
  if (!read_arguments(env, info, 5, arguments) || !read_bytes(env, arguments[1], "arena", &arena) ||
      !read_int32s(env, arguments[2], "rows", &table) ||
      !read_count(env, arguments[4], "count", table.bytes / sizeof(Outgoing), &count) ||
      !read_count(env, arguments[3], "first", count, &first))
    return NULL;
  Socket *socket = socket_of(env, sockets, arguments[0]);
  if (socket == NULL) return to_int32(env, -1);
  Outgoing *rows = (Outgoing *)table.data;
  for (size_t i = first; i < count; i++) {
    if (!is_sound(&rows[i], socket->family, arena.bytes)) {
      napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "a row must be within the arena");
      return NULL;
    }
    const int family = rows[i].to.family;
    if (!socket->is_connected && !(rows[i].state & IS_OVER) && family != 4 && (family != 6 || socket->family == 4))
      refuse(&rows[i], rows[i].length - rows[i].done, EAFNOSUPPORT);
  }
  return to_int32(env, (int32_t)send_rows(socket, arena.data, rows, first, count));
}

/* (number): JavaScript is called once more, when the system has room. */
static napi_value socket_await_room(napi_env env, napi_callback_info info) {
  napi_value argument;
  if (!read_arguments(env, info, 1, &argument)) return NULL;
  Socket *socket = socket_of(env, sockets_of(env, info), argument);
  if (socket != NULL) start_poll(socket, true);
  return NULL;
}

/* (number, isReferenced): whether it keeps the process alive. */
static napi_value socket_reference(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  bool is_referenced = false;
  if (!read_arguments(env, info, 2, arguments)) return NULL;
  Socket *socket = socket_of(env, sockets_of(env, info), arguments[0]);
  if (socket == NULL || napi_get_value_bool(env, arguments[1], &is_referenced) != napi_ok) return NULL;
  if (is_referenced) uv_ref(socket->poll);
  else uv_unref(socket->poll);
  return NULL;
}

/* (number): the callback is not called any more. */
static napi_value socket_close(napi_env env, napi_callback_info info) {
  napi_value argument;
  if (!read_arguments(env, info, 1, &argument)) return NULL;
  Socket *socket = socket_of(env, sockets_of(env, info), argument);
  if (socket != NULL) close_socket(socket);
  return NULL;
}

static bool add_function(Sockets *sockets, napi_value to, const char *name, napi_callback function) {
  napi_value value;
  return napi_create_function(sockets->env, name, NAPI_AUTO_LENGTH, function, sockets, &value) == napi_ok &&
         napi_set_named_property(sockets->env, to, name, value) == napi_ok;
}

static void forget_sockets(void *data) {
  Sockets *sockets = data;
  free(sockets->by_number);
  free(sockets);
}

static napi_value new_sockets(napi_env env) {
  napi_value object;
  if (uv_handle_size == NULL || uv_handle_set_data == NULL || uv_handle_get_data == NULL || uv_poll_init == NULL ||
      uv_poll_start == NULL || uv_close == NULL || uv_ref == NULL || uv_unref == NULL)
    return NULL;
  Sockets *sockets = calloc(1, sizeof *sockets);
  if (sockets == NULL) return NULL;
  sockets->env = env;
  if (napi_get_uv_event_loop(env, &sockets->loop) != napi_ok ||
      napi_add_env_cleanup_hook(env, forget_sockets, sockets) != napi_ok) {
    free(sockets);
    return NULL;
  }
  const bool is_whole = napi_create_object(env, &object) == napi_ok && add_function(sockets, object, "bind", socket_bind) &&
                        add_function(sockets, object, "send", socket_send) &&
                        add_function(sockets, object, "awaitRoom", socket_await_room) &&
                        add_function(sockets, object, "reference", socket_reference) &&
                        add_function(sockets, object, "close", socket_close);
  return is_whole ? object : NULL;
}

bool sockets_export(napi_env env, napi_value exports) {
  napi_value sockets = new_sockets(env);
  return (sockets != NULL || napi_get_null(env, &sockets) == napi_ok) &&
         napi_set_named_property(env, exports, "sockets", sockets) == napi_ok;
}
