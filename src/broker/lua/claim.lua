-- Settles what is done, then moves messages from their queues into the claim of a living owner.
-- KEYS: owners, claim, passed-over, a marker for each queue, then the lists: the first served first, `steps` for each queue
-- ARGV: owner, first number, wanted, bytes, 1 to look after what is passed over, 1 when a marker was taken, queues,
--       seconds after which what was passed over gets a turn, settled fields ...
-- Returns: field, message, field, message ...
local owners, claim, passed_over = KEYS[1], KEYS[2], KEYS[3]
local number, wanted, bytes = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local look, woken, queues = ARGV[5] == '1', ARGV[6] == '1', tonumber(ARGV[7])
local first_list = 4 + queues
local claimed, refused = {}, nil

if not redis.call('ZSCORE', owners, ARGV[1]) then
  return redis.error_reply('FENCED this owner was declared dead')
end
-- A server that is full refuses a script only at a first write that needs memory: this one does not.
redis.call('HDEL', claim, '', unpack(ARGV, 9))

local function has_messages(key)
  local length = redis.pcall('LLEN', key)
  return type(length) == 'number' and length > 0
end

local seen, sources = {}, {}
local function take(list, most)
  while most > 0 and bytes > 0 and not refused do
    local place = (seen[list] or 0) + 1
    local message = redis.pcall('LINDEX', list, -place)
    if not message then return end
    if message.err then
      if not string.find(message.err, 'WRONGTYPE', 1, true) then -- another program's key has no message
        refused = message
      end
      return
    end
    seen[list], sources[#sources + 1] = place, list
    claimed[#claimed + 1] = string.format('%d:%s', number, list)
    claimed[#claimed + 1] = message
    number, wanted, bytes, most = number + 1, wanted - 1, bytes - #message, most - 1
  end
end

-- What was passed over for long shares a fourth of this claim, the one that has waited longest first.
local now, ageing = 0, tonumber(ARGV[8])
if look then
  now = tonumber(redis.call('TIME')[1])
  local aged = {}
  for from = first_list, #KEYS, 1000 do -- Lua has no room to unpack several thousands
    local upto = math.min(from + 999, #KEYS)
    for place, since in ipairs(redis.call('HMGET', passed_over, unpack(KEYS, from, upto))) do
      if since and math.abs(now - tonumber(since)) >= ageing then -- the clock may have been set back
        aged[#aged + 1] = { since = tonumber(since), list = KEYS[from + place - 1] }
      end
    end
  end
  table.sort(aged, function(one, other) return one.since < other.since end)
  local share = math.max(1, math.floor(wanted / 4 / math.max(1, #aged)))
  for _, found in ipairs(aged) do
    if wanted > 0 then
      take(found.list, math.min(wanted, share))
      redis.call('HSET', passed_over, found.list, now - ageing)
    end
  end
end

local reached = first_list - 1
while reached < #KEYS and wanted > 0 and bytes > 0 and not refused do
  reached = reached + 1
  take(KEYS[reached], wanted)
end
-- Of a server that is killed while it writes its log the beginning of this may be left, which its second start then does in
-- the middle of what came later: so a message is claimed before it leaves its list, and leaves it as itself, not by its place.
if #claimed > 0 then
  redis.call('HSET', claim, unpack(claimed))
  for place, list in ipairs(sources) do
    redis.call('LREM', list, -1, claimed[2 * place])
  end
end
if refused then
  return refused
end

if look then
  for place = first_list, #KEYS do
    if place > reached and has_messages(KEYS[place]) then
      redis.call('HSETNX', passed_over, KEYS[place], now)
    else
      redis.call('HDEL', passed_over, KEYS[place])
    end
  end
end

if woken then
  local steps = (#KEYS - first_list + 1) / queues
  for queue = 1, queues do
    for place = first_list + (queue - 1) * steps, first_list + queue * steps - 1 do
      if has_messages(KEYS[place]) then
        redis.call('ZADD', KEYS[3 + queue], 0, 'x')
        break
      end
    end
  end
end
return claimed
