-- JetStreamProto for Wireshark and tshark: dissects the packets of version 1 as ../packets.md and ../frames.md have them, and opens them with a
-- key log (../trace.md). README.md beside this file says how to use it.
--
-- In this order: bits and cryptography in Lua alone, for Wireshark gave scripts none for long; connections and their keys; frames;
-- packets; how Wireshark finds all this. It runs with Lua 5.1 to 5.4 and needs nothing beside it.

-- ---- bits ----

local band, bor, bxor, lshift, rshift, rol
if bit32 then -- Lua 5.2, Wireshark up to 4.2
  band, bor, bxor, lshift, rshift, rol =
    bit32.band, bit32.bor, bit32.bxor, bit32.lshift, bit32.rshift, bit32.lrotate
else -- Lua 5.3 and newer have operators, which older ones could not even read
  local chunk = load([[
    local M = 0xffffffff
    return function(a, b) return a & b & M end,
      function(a, b) return (a | b) & M end,
      function(a, b, c) return (a ~ b ~ (c or 0)) & M end,
      function(a, n) return (a << n) & M end,
      function(a, n) return (a & M) >> n end,
      function(a, n) a = a & M return ((a << n) | (a >> (32 - n))) & M end
  ]])
  band, bor, bxor, lshift, rshift, rol = chunk()
end

local floor = math.floor
local M32 = 4294967296

local function hex(bytes)
  return (bytes:gsub(".", function(c) return string.format("%02x", c:byte()) end))
end

local function unhex(text)
  return (text:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

local function word_le(bytes, at) -- of four bytes, as a number
  local a, b, c, d = bytes:byte(at, at + 3)
  return a + b * 256 + c * 65536 + d * 16777216
end

local function le_word(value)
  return string.char(value % 256, floor(value / 256) % 256, floor(value / 65536) % 256, floor(value / 16777216) % 256)
end

local function be_word(value)
  return le_word(value):reverse()
end

-- To whole blocks of 16 bytes, as both AEADs have it.
local function padded(bytes)
  return bytes .. string.rep("\0", -#bytes % 16)
end

-- ---- SHA-256, HMAC, HKDF (FIPS 180-4, RFC 2104, RFC 5869) ----

local SHA_K = {}
do -- the first 32 bits of the fractional parts of the cube roots of the first 64 primes
  local n, found = 2, 0
  while found < 64 do
    local is_prime = true
    for d = 2, floor(math.sqrt(n)) do if n % d == 0 then is_prime = false break end end
    if is_prime then
      found = found + 1
      local root = n ^ (1 / 3)
      SHA_K[found] = floor((root - floor(root)) * M32)
    end
    n = n + 1
  end
end

local function sha256(text)
  local length = #text
  text = text .. "\128" .. string.rep("\0", (55 - length) % 64) .. be_word(floor(length / 536870912)) .. be_word(length * 8 % M32)
  local h = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 }
  local w = {}
  for at = 1, #text, 64 do
    for i = 1, 16 do
      local a, b, c, d = text:byte(at + 4 * i - 4, at + 4 * i - 1)
      w[i] = ((a * 256 + b) * 256 + c) * 256 + d
    end
    for i = 17, 64 do
      local x, y = w[i - 15], w[i - 2]
      local s0 = bxor(rol(x, 25), rol(x, 14), rshift(x, 3))
      local s1 = bxor(rol(y, 15), rol(y, 13), rshift(y, 10))
      w[i] = (w[i - 16] + s0 + w[i - 7] + s1) % M32
    end
    local a, b, c, d, e, f, g, z = h[1], h[2], h[3], h[4], h[5], h[6], h[7], h[8]
    for i = 1, 64 do
      local s1 = bxor(rol(e, 26), rol(e, 21), rol(e, 7))
      local ch = bxor(band(e, f), band(M32 - 1 - e, g))
      local t1 = (z + s1 + ch + SHA_K[i] + w[i]) % M32
      local s0 = bxor(rol(a, 30), rol(a, 19), rol(a, 10))
      local maj = bxor(band(a, b), band(a, c), band(b, c))
      z, g, f, e, d, c, b, a = g, f, e, (d + t1) % M32, c, b, a, (t1 + s0 + maj) % M32
    end
    h[1], h[2], h[3], h[4] = (h[1] + a) % M32, (h[2] + b) % M32, (h[3] + c) % M32, (h[4] + d) % M32
    h[5], h[6], h[7], h[8] = (h[5] + e) % M32, (h[6] + f) % M32, (h[7] + g) % M32, (h[8] + z) % M32
  end
  local out = {}
  for i = 1, 8 do out[i] = be_word(h[i]) end
  return table.concat(out)
end

local function hmac(key, text)
  if #key > 64 then key = sha256(key) end
  key = key .. string.rep("\0", 64 - #key)
  local function padded(byte)
    return (key:gsub(".", function(c) return string.char(bxor(c:byte(), byte)) end))
  end
  return sha256(padded(0x5c) .. sha256(padded(0x36) .. text))
end

-- Label(secret, label, context, length) of [HS-19], with at most one block of output.
local function expand_label(secret, label, context, length)
  label = "jsp1 " .. label
  local info = string.char(0, length, #label) .. label .. string.char(#context) .. context
  return hmac(secret, info .. "\1"):sub(1, length)
end

-- ---- ChaCha20-Poly1305 (RFC 8439) ----

local function quarter(s, a, b, c, d)
  local x, y, z, w = s[a], s[b], s[c], s[d]
  x = (x + y) % M32; w = rol(bxor(w, x), 16)
  z = (z + w) % M32; y = rol(bxor(y, z), 12)
  x = (x + y) % M32; w = rol(bxor(w, x), 8)
  z = (z + w) % M32; y = rol(bxor(y, z), 7)
  s[a], s[b], s[c], s[d] = x, y, z, w
end

-- The 64 bytes of keystream of one block.
local function chacha20_block(key, counter, nonce)
  local start = { 0x61707865, 0x3320646e, 0x79622d32, 0x6b206574 }
  for i = 0, 7 do start[5 + i] = word_le(key, 4 * i + 1) end
  start[13] = counter
  for i = 0, 2 do start[14 + i] = word_le(nonce, 4 * i + 1) end
  local s = {}
  for i = 1, 16 do s[i] = start[i] end
  for _ = 1, 10 do
    quarter(s, 1, 5, 9, 13) quarter(s, 2, 6, 10, 14) quarter(s, 3, 7, 11, 15) quarter(s, 4, 8, 12, 16)
    quarter(s, 1, 6, 11, 16) quarter(s, 2, 7, 12, 13) quarter(s, 3, 8, 9, 14) quarter(s, 4, 5, 10, 15)
  end
  local out = {}
  for i = 1, 16 do out[i] = le_word((s[i] + start[i]) % M32) end
  return table.concat(out)
end

local function chacha20(key, nonce, text)
  local out = {}
  for at = 1, #text, 64 do
    local stream = chacha20_block(key, (at - 1) / 64 + 1, nonce)
    local block = { text:byte(at, math.min(at + 63, #text)) }
    for i = 1, #block do block[i] = string.char(bxor(block[i], stream:byte(i))) end
    out[#out + 1] = table.concat(block)
  end
  return table.concat(out)
end

-- Five limbs of 26 bits. Products are taken in halves of 13 bits, so that all stays below 2^53.
local function limbs(bytes)
  local n = {}
  local at = 0
  for i = 1, 5 do
    local value, shift = 0, 0
    for k = 0, 3 do
      local byte = bytes:byte(floor(at / 8) + 1 + k) or 0
      value = value + byte * 2 ^ shift
      shift = shift + 8
    end
    n[i] = floor(value / 2 ^ (at % 8)) % 67108864
    at = at + 26
  end
  -- 26 bits and a shift of up to 6 fit into four bytes
  return n
end

local function poly1305(key, text)
  local r = { key:byte(1, 16) }
  for _, i in ipairs({ 4, 8, 12, 16 }) do r[i] = band(r[i], 15) end
  for _, i in ipairs({ 5, 9, 13 }) do r[i] = band(r[i], 252) end
  for i = 1, 16 do r[i] = string.char(r[i]) end
  r = limbs(table.concat(r))
  local low, high = {}, {}
  for i = 1, 5 do
    low[i], high[i] = r[i] % 8192, floor(r[i] / 8192)
  end
  local h = { 0, 0, 0, 0, 0 }
  for at = 1, #text, 16 do
    local n = limbs(text:sub(at, at + 15) .. "\1")
    for i = 1, 5 do h[i] = h[i] + n[i] end
    local d = { 0, 0, 0, 0, 0, 0 }
    for i = 1, 5 do
      local lows, highs = 0, 0
      for k = 1, 5 do
        local j = i - k + 1
        local factor = 1
        if j < 1 then j, factor = j + 5, 5 end
        lows = lows + h[k] * low[j] * factor
        highs = highs + h[k] * high[j] * factor
      end
      d[i] = d[i] + lows + highs % 8192 * 8192
      d[i + 1] = d[i + 1] + floor(highs / 8192)
    end
    d[1] = d[1] + d[6] * 5
    local carry = 0
    for i = 1, 5 do
      local value = d[i] + carry
      carry = floor(value / 67108864)
      h[i] = value % 67108864
    end
    h[1] = h[1] + carry * 5
    h[2] = h[2] + floor(h[1] / 67108864)
    h[1] = h[1] % 67108864
  end
  for _ = 1, 2 do -- all limbs below 2^26
    local carry = 0
    for i = 1, 5 do
      local value = h[i] + carry
      carry = floor(value / 67108864)
      h[i] = value % 67108864
    end
    h[1] = h[1] + carry * 5
  end
  local g, carry = {}, 5 -- h - (2^130 - 5)
  for i = 1, 5 do
    local value = h[i] + carry
    carry = floor(value / 67108864)
    g[i] = value % 67108864
  end
  if carry > 0 then h = g end
  -- plus the second half of the key, modulo 2^128, byte by byte
  local out, rest, bits, limb, sum = {}, 0, 0, 1, 0
  for i = 1, 16 do
    if bits < 8 and limb <= 5 then
      rest = rest + h[limb] * 2 ^ bits
      bits = bits + 26
      limb = limb + 1
    end
    sum = sum + rest % 256 + key:byte(16 + i)
    rest = floor(rest / 256)
    bits = bits - 8
    out[i] = string.char(sum % 256)
    sum = floor(sum / 256)
  end
  return table.concat(out)
end

local function chacha20_poly1305_open(key, nonce, ad, text, tag)
  local lengths = le_word(#ad) .. "\0\0\0\0" .. le_word(#text) .. "\0\0\0\0"
  local once = chacha20_block(key, 0, nonce):sub(1, 32)
  if poly1305(once, padded(ad) .. padded(text) .. lengths) ~= tag then return nil end
  return chacha20(key, nonce, text)
end

local function chacha20_mask(key, sample)
  return chacha20_block(key, word_le(sample, 1), sample:sub(5))
end

-- ---- AES-256-GCM (FIPS 197, NIST SP 800-38D) ----

local AES_S, AES_T, AES_RCON = {}, { {}, {}, {}, {} }, {}
do -- the S-box, and what a byte of a column becomes in a round, for each of the four places it may come from
  local log, power, value = {}, {}, 1
  for i = 0, 254 do
    power[i], log[value] = value, i
    local double = value * 2
    if double > 255 then double = bxor(double, 0x11b) end
    value = bxor(value, double) -- times 3, which generates the field
  end
  for byte = 0, 255 do
    local inverse = byte == 0 and 0 or power[(255 - log[byte]) % 255]
    local s = 0x63
    for shift = 0, 4 do s = bxor(s, (inverse * 2 ^ shift) % 256, floor(inverse / 2 ^ (8 - shift))) end
    local double = s * 2 > 255 and bxor(s * 2, 0x11b) or s * 2
    local word = double * 16777216 + s * 65536 + s * 256 + bxor(double, s)
    AES_S[byte] = s
    for place = 1, 4 do AES_T[place][byte] = rol(word, 32 - 8 * (place - 1)) end
  end
  for i = 1, 7 do AES_RCON[i] = 2 ^ (i - 1) * 16777216 end
end

local function be_words(bytes, at)
  local words = {}
  for i = at, #bytes - 3, 4 do
    local a, b, c, d = bytes:byte(i, i + 3)
    words[#words + 1] = ((a * 256 + b) * 256 + c) * 256 + d
  end
  return words
end

-- The 60 words of the round keys.
local function aes_schedule(key)
  local function substituted(word)
    return AES_S[floor(word / 16777216)] * 16777216 + AES_S[floor(word / 65536) % 256] * 65536
      + AES_S[floor(word / 256) % 256] * 256 + AES_S[word % 256]
  end
  local w = be_words(key, 1)
  for i = 9, 60 do
    local word = w[i - 1]
    if i % 8 == 1 then word = bxor(substituted(rol(word, 8)), AES_RCON[(i - 1) / 8])
    elseif i % 8 == 5 then word = substituted(word) end
    w[i] = bxor(w[i - 8], word)
  end
  return w
end

-- A block of four words, enciphered.
local function aes_block(w, a, b, c, d)
  local t1, t2, t3, t4 = AES_T[1], AES_T[2], AES_T[3], AES_T[4]
  a, b, c, d = bxor(a, w[1]), bxor(b, w[2]), bxor(c, w[3]), bxor(d, w[4])
  for i = 5, 53, 4 do
    a, b, c, d =
      bxor(bxor(t1[floor(a / 16777216)], t2[floor(b / 65536) % 256], t3[floor(c / 256) % 256]), t4[d % 256], w[i]),
      bxor(bxor(t1[floor(b / 16777216)], t2[floor(c / 65536) % 256], t3[floor(d / 256) % 256]), t4[a % 256], w[i + 1]),
      bxor(bxor(t1[floor(c / 16777216)], t2[floor(d / 65536) % 256], t3[floor(a / 256) % 256]), t4[b % 256], w[i + 2]),
      bxor(bxor(t1[floor(d / 16777216)], t2[floor(a / 65536) % 256], t3[floor(b / 256) % 256]), t4[c % 256], w[i + 3])
  end
  local function last(p, q, r, s, key)
    return bxor(AES_S[floor(p / 16777216)] * 16777216 + AES_S[floor(q / 65536) % 256] * 65536
      + AES_S[floor(r / 256) % 256] * 256 + AES_S[s % 256], key)
  end
  return last(a, b, c, d, w[57]), last(b, c, d, a, w[58]), last(c, d, a, b, w[59]), last(d, a, b, c, w[60])
end

-- What a number of four words becomes when it is multiplied by x^8: the eight bits that fall out at the end come back at the front.
local GHASH_BACK = {}
for byte = 0, 255 do
  local word = 0
  for bit = 0, 7 do
    if floor(byte / 2 ^ bit) % 2 == 1 then word = bxor(word, 0xe1000000 / 2 ^ (7 - bit)) end
  end
  GHASH_BACK[byte] = word
end

-- The multiples of the hash key by each byte, as four tables of words: the highest bit of a byte is the lowest power.
local function ghash_tables(w)
  local h1, h2, h3, h4 = aes_block(w, 0, 0, 0, 0)
  local t = { { [0] = 0 }, { [0] = 0 }, { [0] = 0 }, { [0] = 0 } }
  for bit = 7, 0, -1 do
    local at = 2 ^ bit
    t[1][at], t[2][at], t[3][at], t[4][at] = h1, h2, h3, h4
    local back = h4 % 2 * 0xe1000000
    h1, h2, h3, h4 = bxor(floor(h1 / 2), back), floor(h2 / 2) + h1 % 2 * 2147483648,
      floor(h3 / 2) + h2 % 2 * 2147483648, floor(h4 / 2) + h3 % 2 * 2147483648
  end
  for _, at in ipairs({ 2, 4, 8, 16, 32, 64, 128 }) do
    for rest = 1, at - 1 do
      for k = 1, 4 do t[k][at + rest] = bxor(t[k][at], t[k][rest]) end
    end
  end
  return t
end

local function ghash(t, text)
  local t1, t2, t3, t4 = t[1], t[2], t[3], t[4]
  local a, b, c, d = 0, 0, 0, 0
  for at = 1, #text, 16 do
    local x = be_words(text:sub(at, at + 15), 1)
    local words = { bxor(a, x[1]), bxor(b, x[2]), bxor(c, x[3]), bxor(d, x[4]) }
    a, b, c, d = 0, 0, 0, 0
    for i = 4, 1, -1 do
      local word = words[i]
      for _ = 1, 4 do
        local byte, out = word % 256, d % 256
        word = floor(word / 256)
        d = bxor(floor(d / 256) + c % 256 * 16777216, t4[byte])
        c = bxor(floor(c / 256) + b % 256 * 16777216, t3[byte])
        b = bxor(floor(b / 256) + a % 256 * 16777216, t2[byte])
        a = bxor(floor(a / 256), GHASH_BACK[out], t1[byte])
      end
    end
  end
  return a, b, c, d
end

-- A key, with what is worked out of it once.
local function aes_key(key)
  local schedule = aes_schedule(key)
  return { schedule = schedule, tables = ghash_tables(schedule) }
end

local function aes_gcm_open(key, nonce, ad, text, tag)
  local w = key.schedule
  local n = be_words(nonce, 1)
  local lengths = be_word(0) .. be_word(#ad * 8) .. be_word(0) .. be_word(#text * 8)
  local a, b, c, d = ghash(key.tables, padded(ad) .. padded(text) .. lengths)
  local e, f, g, h = aes_block(w, n[1], n[2], n[3], 1)
  if be_word(bxor(a, e)) .. be_word(bxor(b, f)) .. be_word(bxor(c, g)) .. be_word(bxor(d, h)) ~= tag then return nil end
  local out = {}
  for at = 1, #text, 16 do
    local block = text:sub(at, at + 15)
    local x = be_words(padded(block), 1)
    e, f, g, h = aes_block(w, n[1], n[2], n[3], (at - 1) / 16 + 2)
    local clear = be_word(bxor(x[1], e)) .. be_word(bxor(x[2], f)) .. be_word(bxor(x[3], g)) .. be_word(bxor(x[4], h))
    out[#out + 1] = clear:sub(1, #block)
  end
  return table.concat(out)
end

-- The first bytes of a sample's block.
local function aes_mask(key, sample)
  local x = be_words(sample, 1)
  local a, b = aes_block(key.schedule, x[1], x[2], x[3], x[4])
  return be_word(a) .. be_word(b)
end

-- ---- cipher suites [PKT-10] ----

-- `open` gives the text, or nil when the tag does not verify; `mask` what covers the header [PKT-13].
local SUITES = {
  { open = chacha20_poly1305_open, mask = chacha20_mask, key = function(bytes) return bytes end },
  { open = aes_gcm_open, mask = aes_mask, key = aes_key },
}

-- ---- the protocol and its preferences ----

local jsp = Proto("jsp", "JetStreamProto")
local payload_proto = Proto("jsp_payload", "JetStreamProto payload in the clear")

local VERSION = 0x4a535031
local VERSION_SALT = unhex("1e4736bb8041defc19b57e95ae9468047b2dd0f3")
local DEFAULT_PORT = 4577
local ID_BYTES = 8 -- of ids in this implementation; others are looked for, too

jsp.prefs.keylog = Pref.string("Key log file", os.getenv("JSPKEYLOGFILE") or "",
  "The file that JSPKEYLOGFILE named where a client or server ran; by default the one that it names here")
jsp.prefs.fingerprint = Pref.string("Server URL or fingerprint", "",
  "jsp://fingerprint@host:port, or the fingerprint alone: opens the Initial packets of clients that pin it, without a key log")
jsp.prefs.port = Pref.uint("UDP port", DEFAULT_PORT, "Short packets on this port are taken for JetStreamProto before their handshake was seen")

-- ---- connections and their keys ----

local CLIENT, SERVER = "CLIENT", "SERVER" -- who sends
local function other(sender) return sender == CLIENT and SERVER or CLIENT end
local INITIAL, ZERO_RTT, HANDSHAKE, RETRY, ONE_RTT = 0, 1, 2, 3, 4
local TYPE_NAMES = { [0] = "Initial", "0-RTT", "Handshake", "Retry", "1-RTT" }
local SPACES = { [INITIAL] = 0, [ZERO_RTT] = 2, [HANDSHAKE] = 1, [ONE_RTT] = 2 }

local connections, by_id, id_lengths, opened_packets, key_log

local function forget_all()
  connections = {}
  by_id = {} -- destination id, as bytes: who sends to it, on which connection
  id_lengths = { ID_BYTES }
  opened_packets = {} -- what was found in the first pass, by frame and offset
  key_log = { secrets = {}, size = -1 }
end
forget_all()

-- Reads the key log when it is longer than before: it may grow while a capture goes on.
local function read_key_log()
  local file = jsp.prefs.keylog ~= "" and io.open(jsp.prefs.keylog, "rb")
  if not file then return end
  local size = file:seek("end")
  if size ~= key_log.size then
    key_log.size = size
    key_log.secrets = {}
    file:seek("set")
    for line in file:lines() do
      local label, id, secret = line:match("^(JSP_[%u%d_]+) (%x+) (%x+)%s*$")
      if label and #secret == 64 then
        local of_id = key_log.secrets[id:lower()] or {}
        key_log.secrets[id:lower()] = of_id
        of_id[label] = of_id[label] or {}
        table.insert(of_id[label], unhex(secret))
      end
    end
  end
  file:close()
end

-- Key, IV and header protection key of a secret. [HS-23]
local function keys_of(secret, suite, header)
  local by = SUITES[suite]
  return {
    secret = secret,
    suite = suite,
    key = by.key(expand_label(secret, "key", "", 32)),
    iv = expand_label(secret, "iv", "", 12),
    header = header or by.key(expand_label(secret, "hp", "", 32)),
  }
end

local function pinned_fingerprint()
  local text = jsp.prefs.fingerprint:match("^%s*[jJ][sS][pP]://([%w_-]+)@") or jsp.prefs.fingerprint:match("^%s*([%w_-]+)%s*$")
  if not text or #text ~= 43 then return nil end
  local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
  local out, bits, value = {}, 0, 0
  for i = 1, #text do
    value = value * 64 + alphabet:find(text:sub(i, i), 1, true) - 1
    bits = bits + 6
    if bits >= 8 then
      bits = bits - 8
      out[#out + 1] = string.char(floor(value / 2 ^ bits))
      value = value % 2 ^ bits
    end
  end
  return table.concat(out)
end

local LABELS = {
  [INITIAL] = "INITIAL_SECRET", [ZERO_RTT] = "EARLY_TRAFFIC_SECRET",
  [HANDSHAKE] = "HANDSHAKE_TRAFFIC_SECRET", [ONE_RTT] = "TRAFFIC_SECRET_0",
}

-- Secrets that follow from what everybody sees, when the client does not pin or its pin is known. [HS-20]
local function public_secrets(connection, sender, server_id)
  local pin = connection.unpinned and "" or pinned_fingerprint()
  local found = {}
  if not pin then return found end
  for _, id in ipairs({ connection.first_id, connection.retry_id }) do
    local initial = hmac(VERSION_SALT, id .. pin)
    if sender == CLIENT then found[#found + 1] = expand_label(initial, "client in", "", 32)
    else found[#found + 1] = expand_label(initial, "server in", server_id, 32) end
  end
  return found
end

-- Keys that may open what the sender seals in this epoch, those of the handshake in 1-RTT packets. Of the suite nothing is taken from the
-- hellos, which the capture may lack: what opens a packet shows it. [HS-60]
local function candidates(connection, sender, epoch, server_id)
  local secrets = {}
  if epoch == INITIAL then secrets = public_secrets(connection, sender, server_id) end
  read_key_log()
  local logged = key_log.secrets[hex(connection.first_id)]
  local label = LABELS[epoch] and ("JSP_" .. sender .. "_" .. LABELS[epoch])
  for _, secret in ipairs(logged and logged[label] or {}) do secrets[#secrets + 1] = secret end
  local keys = {}
  for _, secret in ipairs(secrets) do
    for suite = 1, epoch == INITIAL and 1 or #SUITES do
      local is_other = epoch >= HANDSHAKE and connection.suite and connection.suite ~= suite
      if not is_other then keys[#keys + 1] = keys_of(secret, suite) end
    end
  end
  return keys
end

local function connect(first_id, client_id, unpinned)
  local connection = {
    number = #connections, first_id = first_id, unpinned = unpinned, keys = {},
    largest = { [CLIENT] = { -1, -1, -1 }, [SERVER] = { -1, -1, -1 } },
  }
  connections[#connections + 1] = connection
  by_id[first_id] = { connection = connection, sender = CLIENT }
  by_id[client_id] = { connection = connection, sender = SERVER }
  return by_id[first_id]
end

-- Under this id comes what the sender sends on the connection: the other one issued it.
local function know_id(id, connection, sender)
  if #id == 0 or by_id[id] then return end
  by_id[id] = { connection = connection, sender = sender }
  for _, length in ipairs(id_lengths) do if length == #id then return end end
  id_lengths[#id_lengths + 1] = #id
end

local function full_number(truncated, bytes, largest) -- RFC 9000 appendix A.3
  local expected, window = largest + 1, 256 ^ bytes
  local candidate = expected - expected % window + truncated
  if candidate <= expected - window / 2 and candidate < 2 ^ 62 - window then return candidate + window end
  if candidate > expected + window / 2 and candidate >= window then return candidate - window end
  return candidate
end

-- Takes header protection off. [PKT-13]
local function unmask(packet, keys, number_at, largest)
  local sample = packet:sub(number_at + 4, number_at + 19)
  if #sample < 16 then return nil end
  local mask = SUITES[keys.suite].mask(keys.header, sample)
  local first = packet:byte(1)
  first = bxor(first, band(mask:byte(1), first >= 0x80 and 0x07 or 0x1f))
  local bytes = first % 4 + 1
  local truncated, clear = 0, ""
  for i = 1, bytes do
    local byte = bxor(packet:byte(number_at + i - 1), mask:byte(i + 1))
    truncated = truncated * 256 + byte
    clear = clear .. string.char(byte)
  end
  local number = full_number(truncated, bytes, largest)
  if number < 0 or number >= 2 ^ 53 then return nil end
  return {
    first = first, number = number, number_bytes = bytes,
    header = string.char(first) .. packet:sub(2, number_at - 1) .. clear,
    text = packet:sub(number_at + bytes, -17), tag = packet:sub(-16),
  }
end

-- Opens the payload of a packet without header protection; nil when these are not its keys. [PKT-11] [PKT-12]
local function open_with(keys, bare)
  local count = "\0\0\0\0" .. be_word(floor(bare.number / M32)) .. be_word(bare.number % M32)
  local nonce = {}
  for i = 1, 12 do nonce[i] = string.char(bxor(keys.iv:byte(i), count:byte(i))) end
  local payload = SUITES[keys.suite].open(keys.key, table.concat(nonce), bare.header, bare.text, bare.tag)
  if not payload then return nil end
  return { first = bare.first, number = bare.number, number_bytes = bare.number_bytes, payload = payload, suite = keys.suite }
end

-- ---- generations of 1-RTT keys [PKT-18] [PKT-27] ----

-- How many generations away from the one that opened last are looked for, for a capture may lack whole ones.
local GENERATIONS_SOUGHT = 16

-- Those of the handshake, from which the others follow.
local function generations_of(keys)
  return { [0] = keys, made = 0, current = 0, from = 0 }
end

local function keys_of_generation(generations, wanted)
  for n = generations.made + 1, wanted do
    local before = generations[n - 1]
    generations[n] = keys_of(expand_label(before.secret, "ku", "", 32), before.suite, before.header) -- [HS-28]
    generations.made = n
  end
  return generations[wanted]
end

-- Which generations the packet may be of, the likeliest first: its phase bit says whether an even one, and its number on which side of the
-- packet with which the newest one began, as far as the capture has seen it.
local function likely_generations(generations, phase, number)
  local current = generations.current
  local list = {}
  for distance = (current + phase) % 2, GENERATIONS_SOUGHT, 2 do
    local older, newer = current - distance, current + distance
    if number < generations.from then newer, older = older, newer end
    for _, n in ipairs(distance == 0 and { current } or { newer, older }) do
      if n >= 0 then list[#list + 1] = n end
    end
  end
  return list
end

local function open_generation(generations, packet, number_at, largest)
  local bare = unmask(packet, generations[0], number_at, largest)
  if not bare then return nil end
  for _, n in ipairs(likely_generations(generations, floor(bare.first / 4) % 2, bare.number)) do
    local opened = open_with(keys_of_generation(generations, n), bare)
    if opened then
      opened.generation = n
      if n > generations.current then generations.current, generations.from = n, bare.number
      elseif n == generations.current and bare.number < generations.from then generations.from = bare.number end
      return opened
    end
  end
  return nil
end

-- ---- what opens a packet ----

local function open_under(keys, packet, number_at, largest)
  local bare = unmask(packet, keys, number_at, largest)
  return bare and open_with(keys, bare)
end

local function open_sealed(connection, sender, packet, epoch, number_at, server_id, largest)
  local name = sender .. epoch
  local known = connection.keys[name]
  if known and epoch == ONE_RTT then return open_generation(known, packet, number_at, largest) end
  if known then
    local opened = open_under(known, packet, number_at, largest)
    if opened then return opened end
  end
  -- Of Initial packets there may be others behind a Retry, or from a server that answered more than once.
  for _, keys in ipairs(known and epoch ~= INITIAL and {} or candidates(connection, sender, epoch, server_id)) do
    local kept, opened = keys, nil
    if epoch == ONE_RTT then
      kept = generations_of(keys)
      opened = open_generation(kept, packet, number_at, largest)
    else opened = open_under(keys, packet, number_at, largest) end
    if opened then
      connection.keys[name] = kept
      if epoch >= HANDSHAKE then connection.suite = keys.suite end
      return opened
    end
  end
  return nil
end

-- What is in a packet; nil without its key. Found once, for Wireshark may ask again in any order.
local function open_packet(pinfo, at, packet, found, epoch, number_at, server_id)
  local name = pinfo.number .. ":" .. at
  local known = opened_packets[name]
  if known ~= nil then return known or nil end
  local largest = found.connection.largest[found.sender]
  local space = SPACES[epoch] + 1
  local opened = open_sealed(found.connection, found.sender, packet, epoch, number_at, server_id, largest[space])
  if opened then
    if opened.number > largest[space] then largest[space] = opened.number end
    opened_packets[name] = opened
    return opened
  end
  if pinfo.visited then opened_packets[name] = false end
  return nil
end

-- ---- fields ----

local f = {}
local function field(name, kind, title, ...)
  f[name] = ProtoField[kind]("jsp." .. name, title, ...)
end

local function names_of(list)
  local names = {}
  for i, name in ipairs(list) do names[i - 1] = name end
  return names
end

local FRAME_NAMES = {
  [0x00] = "PADDING", "PING", "ACK", "ACK_ECN", "ACK_RECOVERED", "ACK_ECN_RECOVERED", "CRYPTO", "HANDSHAKE_DONE", "NEW_TOKEN",
  "TICKET", "STREAM_OPEN", "STREAM_FIN", "RESET_STREAM", "STOP_SENDING", "ABANDON", "DROPPED", "MAX_DATA", "MAX_STREAM_DATA",
  "MAX_STREAMS", "DATA_BLOCKED", "STREAM_DATA_BLOCKED", "STREAMS_BLOCKED", "REPAIR", "HEARTBEAT", "PATH_CHALLENGE",
  "PATH_RESPONSE", "NEW_CONNECTION_ID", "RETIRE_CONNECTION_ID", "CONNECTION_CLOSE", "ACK_FREQUENCY", "ADMITTED", "GOAWAY",
  [0x30] = "MESSAGES", [0x31] = "MESSAGES (best effort)", [0x32] = "MESSAGES", [0x33] = "MESSAGES (best effort)",
}
for type = 0x20, 0x2f do FRAME_NAMES[type] = type % 2 == 0 and "MESSAGE" or "MESSAGE (best effort)" end
for type = 0x38, 0x3f do FRAME_NAMES[type] = "EXTENSION" end

local CLOSE_CODES = {
  [0x00] = "NO_ERROR", "INTERNAL_ERROR", "CONNECTION_REFUSED", "FLOW_CONTROL_ERROR", "STREAM_LIMIT_ERROR", "STREAM_STATE_ERROR",
  "FINAL_SIZE_ERROR", "FRAME_ENCODING_ERROR", "TRANSPORT_PARAMETER_ERROR", [0x09] = "CONNECTION_ID_LIMIT_ERROR", [0x0a] = "PROTOCOL_VIOLATION", [0x0b] = "CRYPTO_ERROR",
  [0x0c] = "IDENTITY_MISMATCH", [0x0d] = "MESSAGE_TOO_LARGE", [0x0e] = "COMPRESSION_ERROR", [0x0f] = "AEAD_LIMIT_REACHED", [0x10] = "SHUTTING_DOWN",
  [0x11] = "IDLE_TIMEOUT", [0x12] = "HEARTBEAT_TIMEOUT", [0x13] = "HANDSHAKE_TIMEOUT", [0x14] = "NOT_AUTHORIZED",
  [0x15] = "INVALID_TOKEN", [0x16] = "VERSION_NEGOTIATION_ERROR", [0x17] = "KEY_UPDATE_ERROR", [0x18] = "TICKET_REFUSED", [0x19] = "NOTHING_IN_COMMON",
}
local HANDSHAKE_MESSAGES = { "CLIENT_HELLO", "SERVER_HELLO", "PARAMETERS", "IDENTITY", "SIGNATURE", "FINISHED", "PAYLOAD" }

local ENVELOPES = { [0x00] = "as it is", [0x01] = "LZ4 block", [0x03] = "LZ4 block, with the dictionary of this hash" }
ENVELOPES[0x09] = "DEFLATE data"
ENVELOPES[0x0b] = "DEFLATE data, with the dictionary of this hash"
for n = 0, 15 do
  ENVELOPES[0x05 + 16 * n] = string.format("LZ4 block, with dictionary %d of the receiver", n)
  ENVELOPES[0x0d + 16 * n] = string.format("DEFLATE data, with dictionary %d of the receiver", n)
end

field("connection", "uint32", "Connection", base.DEC)
field("sender", "string", "Sent by")
field("packet", "none", "Packet")
field("packet.type", "uint8", "Packet type", base.DEC, TYPE_NAMES)
field("packet.number", "uint64", "Packet number", base.DEC)
field("packet.length", "uint32", "Packet length", base.DEC)
field("first_byte", "uint8", "First byte, as it came", base.HEX)
field("header_form", "uint8", "Header form", base.DEC, { [0] = "short", "long" }, 0x80)
field("fixed_bit", "uint8", "Fixed bit", base.DEC, nil, 0x40)
field("unpinned", "bool", "The client does not pin the server's identity")
field("symbol", "bool", "The receiver is to keep this packet's symbol")
field("key_phase", "uint8", "Key phase", base.DEC)
field("key_generation", "uint32", "Generation of keys", base.DEC)
field("cipher_suite", "uint8", "Cipher suite", base.HEX, { [1] = "ChaCha20-Poly1305", [2] = "AES-256-GCM" })
field("version", "uint32", "Version", base.HEX, { [VERSION] = "1", [0] = "version negotiation" })
field("dcid_length", "uint8", "Destination id length", base.DEC)
field("dcid", "bytes", "Destination id")
field("scid_length", "uint8", "Source id length", base.DEC)
field("scid", "bytes", "Source id")
field("token", "bytes", "Token")
field("length", "uint16", "Length of number and payload", base.DEC)
field("sealed", "bytes", "Sealed payload")
field("tag", "bytes", "Tag")
field("frame", "none", "Frame")
field("frame.type", "uint8", "Frame type", base.HEX, FRAME_NAMES)
field("padding.length", "uint32", "Bytes", base.DEC)
field("ack.largest", "uint64", "Largest acknowledged", base.DEC)
field("ack.delay", "uint64", "Delay (us)", base.DEC)
field("ack.range_count", "uint64", "Further ranges", base.DEC)
field("ack.first", "uint64", "First range", base.DEC)
field("ack.gap", "uint64", "Gap", base.DEC)
field("ack.range", "uint64", "Range", base.DEC)
field("ack.ect0", "uint64", "ECT(0)", base.DEC)
field("ack.ect1", "uint64", "ECT(1)", base.DEC)
field("ack.ce", "uint64", "CE", base.DEC)
field("ack.recovered", "uint64", "Recovered packet", base.DEC)
field("crypto.offset", "uint64", "Offset", base.DEC)
field("crypto.total", "uint64", "Length of all messages", base.DEC)
field("crypto.length", "uint64", "Length", base.DEC)
field("crypto.message", "uint8", "First message", base.DEC, { HANDSHAKE_MESSAGES[1], HANDSHAKE_MESSAGES[2], HANDSHAKE_MESSAGES[3],
  HANDSHAKE_MESSAGES[4], HANDSHAKE_MESSAGES[5], HANDSHAKE_MESSAGES[6], HANDSHAKE_MESSAGES[7] })
field("crypto.data", "bytes", "Handshake messages")
field("admitted.offset", "uint64", "Offset", base.DEC)
field("admitted.total", "uint64", "Length of the whole", base.DEC)
field("admitted.data", "bytes", "What the server's application says")
field("new_token.token", "bytes", "Token")
field("ticket.lifetime", "uint64", "Lifetime (s)", base.DEC)
field("ticket.nonce", "bytes", "Nonce")
field("ticket.data", "bytes", "Ticket")
field("stream", "uint64", "Stream", base.DEC)
field("stream.priority", "uint8", "Priority", base.DEC, names_of({ "system", "media", "chat", "bulk" }), 0x03)
field("stream.ordered", "bool", "Ordered", 8, nil, 0x04)
field("stream.delivery", "uint8", "Delivery", base.DEC, names_of({ "reliable", "partial", "best effort" }), 0x18)
field("stream.label", "string", "Label")
field("stream.end", "uint64", "End (sequence)", base.DEC)
field("stream.code", "uint64", "Application code", base.DEC)
field("sequence.space", "uint8", "Sequence space", base.DEC, names_of({ "reliable", "best effort" }))
field("sequence.first", "uint64", "First sequence", base.DEC)
field("sequence.count", "uint64", "Messages", base.DEC)
field("abandon.length", "uint64", "Length of an abandoned message", base.DEC)
field("limit", "uint64", "Limit", base.DEC)
field("repair.code", "uint8", "Code", base.DEC)
field("repair.group", "uint64", "Group", base.DEC)
field("repair.index", "uint8", "Index", base.DEC)
field("repair.k", "uint8", "k", base.DEC)
field("repair.r", "uint8", "r", base.DEC)
field("repair.data", "bytes", "Repair")
field("heartbeat.number", "uint64", "Number", base.DEC)
field("heartbeat.interval", "uint64", "Next within (ms)", base.DEC)
field("path.data", "bytes", "Challenge")
field("goaway.delay", "uint64", "Closes within (ms)", base.DEC)
field("goaway.url", "string", "Where to go")
field("new_id.sequence", "uint64", "Sequence", base.DEC)
field("new_id.retire_prior_to", "uint64", "Retire prior to", base.DEC)
field("new_id.id", "bytes", "Connection id")
field("new_id.reset_token", "bytes", "Stateless reset token")
field("close.scope", "uint8", "Scope", base.DEC, names_of({ "transport", "application", "application, incomplete" }))
field("close.code", "uint64", "Code", base.HEX)
field("close.code_name", "string", "Code name")
field("close.frame_type", "uint8", "Type of the frame at fault", base.HEX, FRAME_NAMES)
field("close.reason", "string", "Reason")
field("ack_frequency.number", "uint64", "Number", base.DEC)
field("ack_frequency.threshold", "uint64", "Threshold (packets)", base.DEC)
field("ack_frequency.max_delay", "uint64", "Largest delay (us)", base.DEC)
field("message.stream", "uint64", "Stream", base.DEC)
field("message.sequence", "uint64", "Sequence", base.DEC)
field("message.best_effort", "bool", "Best effort")
field("message.offset", "uint64", "Offset of the fragment", base.DEC)
field("message.total", "uint64", "Length of the message", base.DEC)
field("message.oldest", "uint64", "Oldest sequence that is not settled", base.DEC)
field("message.remaining", "uint64", "Time until the deadline (us)", base.DEC)
field("message.enveloped", "bool", "In an envelope")
field("message.envelope", "uint8", "Envelope", base.HEX, ENVELOPES)
field("message.dictionary", "bytes", "Hash of the dictionary")
field("message.count", "uint64", "Messages in the run", base.DEC)
field("message.length", "uint64", "Length", base.DEC)
field("message.data", "bytes", "Data")
field("extension.data", "bytes", "Data")

local all = {}
for _, each in pairs(f) do all[#all + 1] = each end
jsp.fields = all

local e = {
  malformed = ProtoExpert.new("jsp.malformed", "Malformed frame", expert.group.MALFORMED, expert.severity.ERROR),
  packet = ProtoExpert.new("jsp.malformed_packet", "Malformed packet", expert.group.MALFORMED, expert.severity.ERROR),
  unknown = ProtoExpert.new("jsp.unknown_frame", "Unknown frame type", expert.group.PROTOCOL, expert.severity.ERROR),
  misplaced = ProtoExpert.new("jsp.misplaced_frame", "Frame in a packet that must not carry it", expert.group.PROTOCOL, expert.severity.WARN),
  reserved = ProtoExpert.new("jsp.reserved_bits", "Reserved bits are set", expert.group.PROTOCOL, expert.severity.WARN),
  sealed = ProtoExpert.new("jsp.not_opened", "Not opened: no key for it, see the preference for the key log", expert.group.DECRYPTION, expert.severity.NOTE),
  closed = ProtoExpert.new("jsp.closed", "The connection is closed", expert.group.SEQUENCE, expert.severity.CHAT),
}
local experts = {}
for _, each in pairs(e) do experts[#experts + 1] = each end
jsp.experts = experts

-- ---- frames ----

-- Walks over the bytes of a frame and adds what it reads to the tree. What runs over the end raises MALFORMED.
local MALFORMED = {}
local Reader = {}
Reader.__index = Reader

function Reader:need(count)
  if count > self.stop - self.at then error(MALFORMED, 0) end
end

function Reader:range(at, length)
  return self.tvb(at - 1, length)
end

function Reader:add(name, at, value)
  if type(value) == "number" and value >= M32 then value = UInt64.new(value % M32, floor(value / M32)) end
  return self.tree:add(f[name], self:range(at, self.at - at), value)
end

function Reader:varint(name)
  self:need(1)
  local at = self.at
  local first = self.bytes:byte(at)
  local length = 2 ^ floor(first / 64)
  self:need(length)
  local value = first % 64
  for i = 1, length - 1 do value = value * 256 + self.bytes:byte(at + i) end
  if value > 2 ^ 53 - 1 then error(MALFORMED, 0) end
  self.at = at + length
  if name then
    local number = value
    if number >= M32 then number = UInt64.new(value % M32, floor(value / M32)) else number = UInt64.new(value, 0) end
    self.tree:add(f[name], self:range(at, length), number)
  end
  return value
end

function Reader:u8(name)
  self:need(1)
  local value = self.bytes:byte(self.at)
  self.at = self.at + 1
  if name then self.tree:add(f[name], self:range(self.at - 1, 1)) end
  return value
end

function Reader:take(length, name)
  self:need(length)
  local at = self.at
  self.at = at + length
  if name and length > 0 then self.tree:add(f[name], self:range(at, length)) end
  return self.bytes:sub(at, at + length - 1)
end

function Reader:data(name, length_name)
  return self:take(self:varint(length_name), name)
end

local function is_utf8(text)
  local at = 1
  while at <= #text do
    local a, b = text:byte(at, at + 1)
    local more, low, high = 0, 0x80, 0xbf
    if a < 0x80 then more = 0
    elseif a >= 0xc2 and a <= 0xdf then more = 1
    elseif a >= 0xe0 and a <= 0xef then more, low, high = 2, a == 0xe0 and 0xa0 or 0x80, a == 0xed and 0x9f or 0xbf
    elseif a >= 0xf0 and a <= 0xf4 then more, low, high = 3, a == 0xf0 and 0x90 or 0x80, a == 0xf4 and 0x8f or 0xbf
    else return false end
    if more > 0 and not (b and b >= low and b <= high) then return false end
    for i = 2, more do
      local c = text:byte(at + i)
      if not (c and c >= 0x80 and c <= 0xbf) then return false end
    end
    at = at + more + 1
  end
  return true
end

local function read_ack(r, type)
  local largest = r:varint("ack.largest")
  r:varint("ack.delay")
  local count = r:varint("ack.range_count")
  local low = largest - r:varint("ack.first")
  local ranges = (low == largest) and tostring(largest) or string.format("%d-%d", low, largest)
  for i = 1, count do
    local high = low - r:varint("ack.gap") - 2
    low = high - r:varint("ack.range")
    if low < 0 then error(MALFORMED, 0) end
    if i <= 3 then ranges = ranges .. (low == high and string.format(",%d", low) or string.format(",%d-%d", low, high)) end
    if i == 4 then ranges = ranges .. ",.." end
  end
  if low < 0 then error(MALFORMED, 0) end
  if type == 0x03 or type == 0x05 then
    r:varint("ack.ect0") r:varint("ack.ect1") r:varint("ack.ce")
  end
  if type >= 0x04 then
    for _ = 1, r:varint() do
      local at = r.at
      local number = largest - r:varint()
      if number < 0 then error(MALFORMED, 0) end
      r.tree:add(f["ack.recovered"], r:range(at, r.at - at), UInt64.new(number % M32, floor(number / M32)))
    end
  end
  return ranges
end

local function read_crypto(r)
  local offset = r:varint("crypto.offset")
  local total = r:varint("crypto.total")
  local length = r:varint("crypto.length")
  r:need(length)
  if offset + length > total then error(MALFORMED, 0) end
  local what = ""
  if offset == 0 and length > 0 then
    local first = r.bytes:byte(r.at)
    r.tree:add(f["crypto.message"], r:range(r.at, 1))
    what = " " .. (HANDSHAKE_MESSAGES[first] or "?")
  end
  r:take(length, "crypto.data")
  return string.format("%d-%d/%d%s", offset, offset + length, total, what)
end

-- [CMP-2] What the bytes of a message begin with, at the reader's place. Returns what the Info column says of it.
local function add_envelope(r, length)
  local first = length > 0 and r.bytes:byte(r.at)
  if not first then return "" end
  r.tree:add(f["message.envelope"], r:range(r.at, 1))
  if (first == 0x03 or first == 0x0b) and length > 8 then r.tree:add(f["message.dictionary"], r:range(r.at + 1, 8)) end
  return first == 0 and "" or " compressed"
end

local function read_message(r, type)
  local flags = type % 16
  local stream = r:varint("message.stream")
  local sequence = r:varint("message.sequence")
  r.tree:add(f["message.best_effort"], r:range(r.start, 1), flags % 2 == 1)
  local text = string.format("stream %d #%d", stream, sequence)
  local offset, total
  if floor(flags / 2) % 2 == 1 then
    offset = r:varint("message.offset")
    total = r:varint("message.total")
    local at = r.at
    local oldest = sequence - r:varint()
    if oldest < 0 then error(MALFORMED, 0) end
    r.tree:add(f["message.oldest"], r:range(at, r.at - at), UInt64.new(oldest % M32, floor(oldest / M32)))
  end
  if floor(flags / 4) % 2 == 1 then r:varint("message.remaining") end
  local is_enveloped = flags >= 8
  r.tree:add(f["message.enveloped"], r:range(r.start, 1), is_enveloped)
  local length = r:varint("message.length")
  r:need(length)
  -- The envelope is the beginning of the message, not of each fragment.
  if is_enveloped and (offset or 0) == 0 then text = text .. add_envelope(r, length) end
  r:take(length, "message.data")
  if offset == nil then return string.format("%s %d B", text, length) end
  if length == 0 or offset + length > total then error(MALFORMED, 0) end
  return string.format("%s %d-%d/%d", text, offset, offset + length, total)
end

local function read_messages(r, type)
  local stream = r:varint("message.stream")
  r.tree:add(f["message.best_effort"], r:range(r.start, 1), type % 2 == 1)
  r.tree:add(f["message.enveloped"], r:range(r.start, 1), type >= 0x32)
  local first = r:varint("message.sequence")
  local count = r:varint("message.count")
  if count < 1 or count > r.stop - r.at or first + count > 2 ^ 53 - 1 then error(MALFORMED, 0) end
  local what = ""
  for _ = 1, count do
    local length = r:varint("message.length")
    r:need(length)
    if type >= 0x32 and add_envelope(r, length) ~= "" then what = " compressed" end
    r:take(length, "message.data")
  end
  return string.format("stream %d x%d%s", stream, count, what)
end

local function read_open(r)
  local stream = r:varint("stream")
  local at = r.at
  local flags = r:u8("stream.priority")
  if flags >= 0x20 or floor(flags / 8) == 3 then error(MALFORMED, 0) end
  r.tree:add(f["stream.ordered"], r:range(at, 1))
  r.tree:add(f["stream.delivery"], r:range(at, 1))
  local length = r:u8()
  if length > 64 then error(MALFORMED, 0) end
  local label = r:take(length, "stream.label")
  if not is_utf8(label) then error(MALFORMED, 0) end
  return string.format("stream %d%s", stream, label == "" and "" or string.format(" %q", label))
end

local function read_run(r, name, with_lengths)
  local first = r:varint("sequence.first")
  local count = r:varint("sequence.count")
  if count < 1 or first + count > 2 ^ 53 - 1 then error(MALFORMED, 0) end
  if with_lengths then
    if count > r.stop - r.at then error(MALFORMED, 0) end
    for _ = 1, count do r:varint("abandon.length") end
  end
  return string.format("%s #%d x%d", name, first, count)
end

local function read_close(r)
  local scope = r:u8("close.scope")
  if scope > 2 then error(MALFORMED, 0) end
  local at = r.at
  local code = r:varint("close.code")
  local name = scope == 0 and (CLOSE_CODES[code] or string.format("0x%x", code)) or string.format("application code %d", code)
  r.tree:add(f["close.code_name"], r:range(at, r.at - at), name)
  r:u8("close.frame_type")
  local reason = r:data("close.reason")
  return name .. (reason == "" and "" or string.format(" %q", reason))
end

local function on_stream(name, rest)
  return function(r)
    local stream = r:varint("stream")
    local text = rest and rest(r) or ""
    return string.format("stream %d%s", stream, text == "" and "" or " " .. text)
  end
end

local function limit(r) return string.format("%d", r:varint("limit")) end

-- [FEC-21] Of code 1: the span ends with packet `group`, and its mask, if it has one, covers the first and the last of k.
local function read_repair(r)
  local code = r:u8("repair.code")
  local group = r:varint("repair.group")
  local index = r:u8("repair.index")
  local k = r:u8("repair.k")
  local mask = r:u8("repair.r")
  local data = r:data("repair.data")
  if code ~= 1 then return string.format("code %d", code) end
  local is_right = group >= 1 and (index < 128 or index == 255) and k >= 1 and k <= 64 and #data >= mask + 3
  if is_right and mask > 0 then
    local last = data:byte(mask)
    local bits = (k - 1) % 8
    is_right = mask == floor((k + 7) / 8) and data:byte(1) % 2 == 1 and floor(last / 2 ^ bits) == 1
  end
  if not is_right then error(MALFORMED, 0) end
  return string.format("group %d of %d", group, k)
end

local READERS = {
  [0x01] = function() return "" end,
  [0x06] = read_crypto,
  [0x07] = function() return "" end,
  [0x08] = function(r) r:data("new_token.token") return "" end,
  [0x09] = function(r)
    local lifetime = r:varint("ticket.lifetime")
    r:take(16, "ticket.nonce")
    r:data("ticket.data")
    return string.format("%d s", lifetime)
  end,
  [0x1e] = function(r)
    local offset = r:varint("admitted.offset")
    local total = r:varint("admitted.total")
    local data = r:data("admitted.data")
    if total < 1 or total > 1025 or offset + #data > total then error(MALFORMED, 0) end
    return string.format("%d of %d", offset, total)
  end,
  [0x0a] = read_open,
  [0x0b] = on_stream("fin", function(r) return string.format("end %d", r:varint("stream.end")) end),
  [0x0c] = on_stream("reset", function(r)
    return string.format("code %d end %d", r:varint("stream.code"), r:varint("stream.end"))
  end),
  [0x0d] = on_stream("stop", function(r) return string.format("code %d", r:varint("stream.code")) end),
  [0x0e] = on_stream("abandon", function(r) return read_run(r, "", true) end),
  [0x0f] = on_stream("dropped", function(r)
    local space = r:u8("sequence.space")
    if space > 1 then error(MALFORMED, 0) end
    return read_run(r, space == 0 and "reliable" or "best effort", false)
  end),
  [0x10] = limit, [0x11] = on_stream("max", limit), [0x12] = limit,
  [0x13] = limit, [0x14] = on_stream("blocked", limit), [0x15] = limit,
  [0x16] = read_repair,
  [0x17] = function(r)
    local number = r:varint("heartbeat.number")
    r:varint("heartbeat.interval")
    return string.format("#%d", number)
  end,
  [0x18] = function(r) r:take(8, "path.data") return "" end,
  [0x19] = function(r) r:take(8, "path.data") return "" end,
  [0x1a] = function(r)
    local sequence = r:varint("new_id.sequence")
    local retire = r:varint("new_id.retire_prior_to")
    local length = r:u8()
    if length < 1 or length > 20 or retire > sequence then error(MALFORMED, 0) end
    local id = r:take(length, "new_id.id")
    if r.on_new_id then r.on_new_id(id) end
    r:take(16, "new_id.reset_token")
    return string.format("#%d", sequence)
  end,
  [0x1b] = function(r) return string.format("#%d", r:varint("new_id.sequence")) end,
  [0x1c] = read_close,
  [0x1d] = function(r)
    r:varint("ack_frequency.number")
    local threshold = r:varint("ack_frequency.threshold")
    local delay = r:varint("ack_frequency.max_delay")
    return string.format("threshold %d, %d us", threshold, delay)
  end,
  [0x1f] = function(r)
    local delay = r:varint("goaway.delay")
    local url = r:data("goaway.url")
    if #url > 1024 then error(MALFORMED, 0) end
    return string.format("within %d ms%s", delay, url == "" and "" or string.format(" to %q", url))
  end,
  [0x30] = read_messages, [0x31] = read_messages, [0x32] = read_messages, [0x33] = read_messages,
}
for type = 0x02, 0x05 do READERS[type] = read_ack end
for type = 0x20, 0x2f do READERS[type] = read_message end
for type = 0x38, 0x3f do READERS[type] = function(r) r:data("extension.data") return "" end end

-- [FRM-4] Which frames an Initial or Handshake packet carries, and which no 1-RTT packet does.
local IN_HANDSHAKE = { [0x00] = true, [0x01] = true, [0x02] = true, [0x03] = true, [0x04] = true, [0x05] = true, [0x06] = true, [0x1c] = true }

local function is_misplaced(type, epoch)
  if epoch == ONE_RTT then return type == 0x06 end
  if epoch == INITIAL or epoch == HANDSHAKE then return not IN_HANDSHAKE[type] end
  return false
end

-- Adds the frames of a payload in the clear to the tree. Returns what the Info column says of them.
local function dissect_frames(tvb, tree, epoch, on_new_id)
  local bytes = tvb:raw()
  local info = {}
  local r = setmetatable({ tvb = tvb, bytes = bytes, at = 1, stop = #bytes + 1, on_new_id = on_new_id }, Reader)
  while r.at < r.stop do
    local start = r.at
    local type = bytes:byte(start)
    local name = FRAME_NAMES[type]
    if type == 0 then -- PADDING, all that stands in a row
      while r.at < r.stop and bytes:byte(r.at) == 0 do r.at = r.at + 1 end
      local branch = tree:add(f["frame"], tvb(start - 1, r.at - start)):set_text(string.format("PADDING x%d", r.at - start))
      branch:add(f["frame.type"], tvb(start - 1, 1))
      branch:add(f["padding.length"], tvb(start - 1, r.at - start), r.at - start)
      info[#info + 1] = "PADDING"
    elseif not name then
      local branch = tree:add(f["frame"], tvb(start - 1)):set_text(string.format("Unknown frame 0x%02x", type))
      branch:add(f["frame.type"], tvb(start - 1, 1))
      branch:add_proto_expert_info(e.unknown)
      info[#info + 1] = string.format("UNKNOWN 0x%02x", type)
      break
    else
      local branch = tree:add(f["frame"], tvb(start - 1))
      branch:add(f["frame.type"], tvb(start - 1, 1))
      r.tree, r.start, r.at = branch, start, start + 1
      local is_right, text = pcall(READERS[type], r, type)
      if not is_right then
        branch:set_text(name)
        if text ~= MALFORMED then error(text, 0) end
        branch:add_proto_expert_info(e.malformed)
        info[#info + 1] = name .. " (malformed)"
        break
      end
      branch:set_len(r.at - start)
      branch:set_text(text == "" and name or (name .. " " .. text))
      if is_misplaced(type, epoch) then branch:add_proto_expert_info(e.misplaced) end
      if type == 0x1c then branch:add_proto_expert_info(e.closed) end
      info[#info + 1] = text == "" and name or (name .. " " .. text)
    end
  end
  return table.concat(info, ", ")
end

-- ---- packets ----

-- Reads a long header from `at` on, counted from 1. Nil when it is cut short or malformed. [PKT-1] [PKT-3]
local function read_long_header(bytes, at)
  local h = { at = at }
  if #bytes - at < 6 then return nil end
  h.version = ((bytes:byte(at + 1) * 256 + bytes:byte(at + 2)) * 256 + bytes:byte(at + 3)) * 256 + bytes:byte(at + 4)
  local next_at = at + 5
  local function id()
    local length = bytes:byte(next_at)
    if not length or length > 20 or next_at + length > #bytes then return nil end
    local value = bytes:sub(next_at + 1, next_at + length)
    next_at = next_at + 1 + length
    return value
  end
  h.dcid = id()
  h.scid = h.dcid and id()
  if not h.scid then return nil end
  h.ids_end = next_at
  if h.version ~= VERSION then return h end
  h.type = floor(bytes:byte(at) / 16) % 4
  if h.type == RETRY then
    h.stop = #bytes + 1
    return h
  end
  if h.type == INITIAL then
    local first = bytes:byte(next_at)
    if not first then return nil end
    local width = 2 ^ floor(first / 64)
    local length = first % 64
    for i = 1, width - 1 do length = length * 256 + (bytes:byte(next_at + i) or 0) end
    h.token_at, h.token_length = next_at + width, length
    next_at = next_at + width + length
  end
  local high, low = bytes:byte(next_at, next_at + 1)
  if not low or floor(high / 64) ~= 1 then return nil end
  h.length_at = next_at
  h.length = high % 64 * 256 + low
  h.number_at = next_at + 2
  h.stop = h.number_at + h.length
  if h.length < 20 or h.stop > #bytes + 1 then return nil end
  return h
end

local function add_first_byte(tree, tvb, at)
  tree:add(f["first_byte"], tvb(at - 1, 1))
  tree:add(f["header_form"], tvb(at - 1, 1))
  tree:add(f["fixed_bit"], tvb(at - 1, 1))
end

-- Adds what a packet holds. Returns what the Info column says of it.
local function add_payload(tvb, pinfo, tree, bytes, at, number_at, stop, found, epoch, server_id)
  local name = TYPE_NAMES[epoch]
  local opened = found and open_packet(pinfo, at, bytes:sub(at, stop - 1), found, epoch, number_at - at + 1, server_id)
  if not opened then
    tree:add(f["sealed"], tvb(number_at - 1, stop - number_at))
    tree:add_proto_expert_info(e.sealed)
    return name .. " (sealed)"
  end
  local number = opened.number
  tree:add(f["packet.number"], tvb(number_at - 1, opened.number_bytes), UInt64.new(number % M32, floor(number / M32)))
  if epoch == ONE_RTT then
    tree:add(f["symbol"], tvb(at - 1, 1), floor(opened.first / 16) % 2 == 1)
    tree:add(f["key_phase"], tvb(at - 1, 1), floor(opened.first / 4) % 2)
    tree:add(f["key_generation"], tvb(at - 1, 1), opened.generation):set_generated()
    if floor(opened.first / 8) % 2 == 1 then tree:add_proto_expert_info(e.reserved) end
  elseif floor(opened.first / 4) % 2 == 1 then
    tree:add_proto_expert_info(e.reserved)
  end
  tree:add(f["cipher_suite"], tvb(stop - 17, 16), opened.suite):set_generated()
  tree:add(f["tag"], tvb(stop - 17, 16))
  local clear = ByteArray.new(opened.payload, true):tvb(string.format("%s %d in the clear", name, number))
  local frames = dissect_frames(clear(), tree, epoch, function(id) know_id(id, found.connection, other(found.sender)) end)
  tree:append_text(string.format(", number %d", number))
  return string.format("%s pn=%d %s", name, number, frames)
end

-- The connection that a short packet is for, by its destination id.
local function find_short(bytes, at)
  for _, length in ipairs(id_lengths) do
    local found = by_id[bytes:sub(at + 1, at + length)]
    if found then return found, length end
  end
  return nil, ID_BYTES
end

local function dissect_long(tvb, pinfo, root, bytes, at)
  local h = read_long_header(bytes, at)
  local tree = root:add(f["packet"], tvb(at - 1))
  add_first_byte(tree, tvb, at)
  if not h then
    tree:set_text("Malformed packet")
    tree:add_proto_expert_info(e.packet)
    return #bytes + 1, "malformed packet"
  end
  tree:add(f["version"], tvb(at, 4))
  tree:add(f["dcid_length"], tvb(at + 4, 1))
  local dcid_at = at + 5
  if #h.dcid > 0 then tree:add(f["dcid"], tvb(dcid_at, #h.dcid)) end
  tree:add(f["scid_length"], tvb(dcid_at + #h.dcid, 1))
  if #h.scid > 0 then tree:add(f["scid"], tvb(dcid_at + #h.dcid + 1, #h.scid)) end
  if not h.type then
    tree:set_text("Packet of another version")
    return #bytes + 1, string.format("version 0x%08x", h.version)
  end
  local name = TYPE_NAMES[h.type]
  tree:set_text(name .. " packet")
  tree:set_len(h.stop - at)
  tree:add(f["packet.type"], tvb(at - 1, 1), h.type)
  tree:add(f["packet.length"], tvb(at - 1, h.stop - at), h.stop - at)
  local unpinned = h.type == INITIAL and floor(bytes:byte(at) / 8) % 2 == 1
  if h.type == INITIAL then tree:add(f["unpinned"], tvb(at - 1, 1), unpinned) end
  local found = by_id[h.dcid]
  if not found and h.type == INITIAL then found = connect(h.dcid, h.scid, unpinned) end
  if found then
    -- Who sends this is sent to by the other side under the id that it names.
    know_id(h.scid, found.connection, other(found.sender))
    root:add(f["connection"], tvb(at - 1, 1), found.connection.number):set_generated()
    tree:add(f["sender"], tvb(at - 1, 1), found.sender:lower()):set_generated()
  end
  if h.type == RETRY then
    if found and found.sender == SERVER then found.connection.retry_id = h.scid end
    tree:add(f["token"], tvb(h.ids_end - 1))
    return h.stop, name
  end
  if h.token_length and h.token_length > 0 then tree:add(f["token"], tvb(h.token_at - 1, h.token_length)) end
  tree:add(f["length"], tvb(h.length_at - 1, 2), h.length)
  local server_id = found and (found.sender == SERVER and h.scid or "") or ""
  return h.stop, add_payload(tvb, pinfo, tree, bytes, at, h.number_at, h.stop, found, h.type, server_id)
end

-- Where the short packet at `at` ends. Linux may hand a row of datagrams to one peer to the loopback interface, and to who captures there, as one, which
-- is cut up later or never (UDP segmentation offload): the next of them begins with the same id.
local function end_of_short(bytes, at, id_length)
  local id = bytes:sub(at + 1, at + id_length)
  local next_id = #id >= 4 and bytes:find(id, at + 1 + id_length, true)
  while next_id do
    local first = bytes:byte(next_id - 1)
    if first >= 0x40 and first < 0x80 and next_id - 1 - at >= id_length + 21 then return next_id - 1 end
    next_id = bytes:find(id, next_id + 1, true)
  end
  return #bytes + 1
end

local function dissect_short(tvb, pinfo, root, bytes, at)
  local found, id_length = find_short(bytes, at)
  local stop = found and end_of_short(bytes, at, id_length) or #bytes + 1
  local tree = root:add(f["packet"], tvb(at - 1)):set_text("1-RTT packet")
  add_first_byte(tree, tvb, at)
  local number_at = at + 1 + id_length
  if stop - number_at < 20 then
    tree:add_proto_expert_info(e.packet)
    return #bytes + 1, "malformed packet"
  end
  tree:add(f["packet.type"], tvb(at - 1, 1), ONE_RTT)
  tree:set_len(stop - at)
  tree:add(f["packet.length"], tvb(at - 1, stop - at), stop - at)
  tree:add(f["dcid"], tvb(at, id_length))
  if found then
    root:add(f["connection"], tvb(at, id_length), found.connection.number):set_generated()
    tree:add(f["sender"], tvb(at - 1, 1), found.sender:lower()):set_generated()
  end
  return stop, add_payload(tvb, pinfo, tree, bytes, at, number_at, stop, found, ONE_RTT, "")
end

function jsp.dissector(tvb, pinfo, tree)
  local bytes = tvb:raw()
  if #bytes == 0 then return 0 end
  pinfo.cols.protocol = "JSP"
  local root = tree:add(jsp, tvb())
  local info = {}
  local at = 1
  while at <= #bytes do -- packets that share the datagram [PKT-6]
    local stop, text
    if bytes:byte(at) >= 0x80 then stop, text = dissect_long(tvb, pinfo, root, bytes, at)
    else stop, text = dissect_short(tvb, pinfo, root, bytes, at) end
    info[#info + 1] = text
    at = stop
  end
  pinfo.cols.info = table.concat(info, " | ")
  return #bytes
end

-- Payloads without a packet around them, such as those of ../vectors/frames.json.
function payload_proto.dissector(tvb, pinfo, tree)
  pinfo.cols.protocol = "JSP"
  local root = tree:add(jsp, tvb())
  pinfo.cols.info = dissect_frames(tvb(), root, -1)
  return tvb:len()
end

-- ---- how Wireshark finds this ----

function jsp.init()
  forget_all()
end

local current_port = nil
local udp_ports = DissectorTable.get("udp.port")
local function use_port(port)
  if current_port then udp_ports:remove(current_port, jsp) end
  current_port = port > 0 and port or nil
  if current_port then udp_ports:add(current_port, jsp) end
end
use_port(DEFAULT_PORT)
udp_ports:add_for_decode_as(jsp)

function jsp.prefs_changed()
  forget_all()
  if jsp.prefs.port ~= current_port then use_port(jsp.prefs.port) end
end

-- On any port: a long packet of version 1 shows itself, and all that follows between the two ends is the same. A short one does by its id, which
-- leads to its connection from wherever the peer moved to. [CON-1]
jsp:register_heuristic("udp", function(tvb, pinfo, tree)
  if tvb:len() < 7 then return false end
  local bytes = tvb:raw()
  local first = bytes:byte(1)
  local is_long = first >= 0xc0 and tvb(1, 4):uint() == VERSION
  local is_short = first >= 0x40 and first < 0x80 and find_short(bytes, 1) ~= nil
  if not is_long and not is_short then return false end
  jsp.dissector(tvb, pinfo, tree)
  pinfo.conversation = jsp
  return true
end)
