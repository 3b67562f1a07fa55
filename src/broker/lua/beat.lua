-- The heartbeat of an owner, and its look at the others.
-- KEYS: owners, dead, grace, looked
-- ARGV: owner, 1 to beat, 1 when this owner lived and could not reach the server, 1 when it may declare others dead,
--       milliseconds after which a silent owner is dead, milliseconds since this owner's last beat by its own clock at
--       least and at most, 1 when that was found not to agree with this server's clock just before
-- Returns: the owners whose claims wait to be given back; nothing where the clocks do not agree
local beaten = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not beaten then
  return redis.error_reply('FENCED this owner was declared dead')
end
local time = redis.call('TIME')
local now, dead_after = time[1] * 1000 + math.floor(time[2] / 1000), tonumber(ARGV[5])
-- A server that is full refuses a script only at a first write that needs memory: this one does not.
redis.call('ZREM', KEYS[1], '')
local elapsed = now - beaten
if elapsed < ARGV[6] - dead_after / 2 or elapsed > ARGV[7] + dead_after / 2 then
  if ARGV[8] == '0' then
    return false -- or this request came late: one that comes in time tells
  end
  -- This server's clock was set, or its machine slept: what it says of the last beats tells nothing of who lives.
  for _, owner in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    redis.call('ZADD', KEYS[1], now, owner)
  end
  redis.call('SET', KEYS[4], now)
end
if ARGV[2] == '1' then
  redis.call('ZADD', KEYS[1], now, ARGV[1])
end
-- Nobody could beat while the server was away: then all have their full time once more.
local looked = tonumber(redis.call('GET', KEYS[4]) or beaten)
if ARGV[3] == '1' and now - looked > dead_after / 2 then
  redis.call('SET', KEYS[3], 1, 'PX', dead_after)
end
redis.call('SET', KEYS[4], now)
if ARGV[4] == '1' and redis.call('EXISTS', KEYS[3]) == 0 then
  for _, owner in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - dead_after, 'LIMIT', 0, 100)) do
    redis.call('ZREM', KEYS[1], owner)
    redis.call('SADD', KEYS[2], owner)
  end
end
return redis.call('SMEMBERS', KEYS[2])
