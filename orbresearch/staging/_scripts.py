"""The atomic steps of the books, in Lua: each is one indivisible command of the server.

Redis does not undo a script that fails half-way. So each begins with the write that a full server refuses; whatever
comes after it in the same script is let through. Taking an entry off the stream succeeds on a full server too.
"""

from __future__ import annotations

# KEYS: run, chunks, runs, stream. ARGV: run_id, spec, total, persisted and submitted as JSON [first, rows, first, ...].
# Returns the first backtests of the chunks that are on the stream still.
OPEN = """
local run, chunks, runs, stream = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
redis.call('HSET', run, 'spec', ARGV[2], 'total', ARGV[3])
redis.call('PERSIST', run)
local staged = {}
local known = redis.call('HGETALL', chunks)
for i = 1, #known, 2 do
  local entry = string.match(known[i + 1], '^staged %d+ %d+ (.+)$')
  if entry and #redis.call('XRANGE', stream, entry, entry) == 1 then staged[known[i]] = known[i + 1] end
end
redis.call('DEL', chunks)
local persisted_rows, staged_rows, staged_bytes, firsts = 0, 0, 0, {}
local persisted = cjson.decode(ARGV[4])
for i = 1, #persisted, 2 do
  redis.call('HSET', chunks, persisted[i], 'persisted ' .. persisted[i + 1])
  persisted_rows = persisted_rows + tonumber(persisted[i + 1])
  staged[persisted[i]] = nil
end
local submitted = cjson.decode(ARGV[5])
for i = 1, #submitted, 2 do
  redis.call('HSET', chunks, submitted[i], 'submitted ' .. submitted[i + 1])
end
for first, state in pairs(staged) do
  local rows, bytes = string.match(state, '^staged (%d+) (%d+) ')
  redis.call('HSET', chunks, first, state)
  staged_rows, staged_bytes = staged_rows + tonumber(rows), staged_bytes + tonumber(bytes)
  firsts[#firsts + 1] = first
end
redis.call('HSET', run, 'persisted', persisted_rows, 'staged', staged_rows, 'staged_bytes', staged_bytes)
redis.call('HSET', run, 'opened_at', redis.call('TIME')[1])
redis.call('SADD', runs, ARGV[1])
return firsts
"""

# KEYS: chunks. ARGV: first, state, rows. Returns 1, or 0 where it was complete already.
NOTE = """
local state = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if string.sub(state, 1, 7) == 'staged ' or string.sub(state, 1, 10) == 'persisted ' then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. ARGV[3])
return 1
"""

# KEYS: run, chunks, runs, stream. ARGV: run_id, first, rows, payload. Returns 1, or 0 where it was complete already.
COMPLETE = """
local run, chunks, runs, stream = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local run_id, first, rows, payload = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local state = redis.call('HGET', chunks, first) or ''
if string.sub(state, 1, 7) == 'staged ' or string.sub(state, 1, 10) == 'persisted ' then return 0 end
local entry = redis.call('XADD', stream, '*', 'run', run_id, 'first', first, 'rows', rows, 'payload', payload)
redis.call('HSET', chunks, first, 'staged ' .. rows .. ' ' .. #payload .. ' ' .. entry)
redis.call('HINCRBY', run, 'staged', rows)
redis.call('HINCRBY', run, 'staged_bytes', #payload)
redis.call('HSET', run, 'staged_at', redis.call('TIME')[1])
redis.call('SADD', runs, run_id)
return 1
"""

# KEYS: run, chunks, runs, stream. ARGV: run_id, first, rows, entry, group. Returns 1, or 0 where the entry is gone.
ACKNOWLEDGE = """
local run, chunks, runs, stream = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local run_id, first, rows, entry, group = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
redis.call('XACK', stream, group, entry)
if redis.call('XDEL', stream, entry) == 0 then return 0 end
local state = redis.call('HGET', chunks, first) or ''
if string.sub(state, 1, 10) == 'persisted ' then return 1 end
local staged_rows, staged_bytes = string.match(state, '^staged (%d+) (%d+) ')
if staged_rows then
  redis.call('HINCRBY', run, 'staged', '-' .. staged_rows)
  redis.call('HINCRBY', run, 'staged_bytes', '-' .. staged_bytes)
end
redis.call('HSET', chunks, first, 'persisted ' .. rows)
redis.call('HINCRBY', run, 'persisted', rows)
redis.call('HSET', run, 'persisted_at', redis.call('TIME')[1])
redis.call('SADD', runs, run_id)
return 1
"""

# KEYS: run, chunks, runs, stream. ARGV: first, rows, entry, group. Returns 1, or 0 where the entry is gone.
REJECT = """
local run, chunks, stream = KEYS[1], KEYS[2], KEYS[4]
local first, rows, entry, group = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
redis.call('XACK', stream, group, entry)
if redis.call('XDEL', stream, entry) == 0 then return 0 end
local staged_rows, staged_bytes = string.match(redis.call('HGET', chunks, first) or '', '^staged (%d+) (%d+) ')
if staged_rows then
  redis.call('HINCRBY', run, 'staged', '-' .. staged_rows)
  redis.call('HINCRBY', run, 'staged_bytes', '-' .. staged_bytes)
  redis.call('HSET', chunks, first, 'submitted ' .. rows)
end
return 1
"""

# KEYS: lease, stream. ARGV: token, milliseconds, group. Who holds it gets it again: a repeated request is harmless.
# DEL is a write that a full server accepts: it must be able to get a reaper, and the group a reaper needs. Each reaper
# is a consumer of its own, so a new one strikes off those of old that have nothing pending (what is pending would be
# lost with its consumer).
ACQUIRE = """
local lease, stream, token, group = KEYS[1], KEYS[2], ARGV[1], ARGV[3]
local holder = redis.call('GET', lease)
if holder and holder ~= token then return 0 end
redis.call('DEL', lease)
redis.call('SET', lease, token, 'PX', ARGV[2])
redis.pcall('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')
for _, facts in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
  local consumer = {}
  for i = 1, #facts, 2 do consumer[facts[i]] = facts[i + 1] end
  if consumer.pending == 0 then redis.call('XGROUP', 'DELCONSUMER', stream, group, consumer.name) end
end
return 1
"""

# KEYS: lease. ARGV: token, milliseconds.
RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""

# KEYS: lease. ARGV: token.
RELEASE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""
