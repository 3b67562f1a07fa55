-- Moves messages out of a claim into lists; what is no longer claimed is left alone, so it can be repeated. What a list
-- refuses (the key is no list, a right is missing) stays claimed and holds nothing else back.
-- KEYS: claim   ARGV: field, list, marker, message as it shall be, field, list ...
--       With a marker to the front; without one to the back, where nobody waits.
-- Returns: how many were moved, then list, error, list, error ...
local answer = { 0 }
-- A server that is full refuses a script only at a first write that needs memory: this one does not.
redis.call('HDEL', KEYS[1], '')
for place = 2, #ARGV, 4 do
  if redis.call('HEXISTS', KEYS[1], ARGV[place - 1]) == 1 then
    local list, marker, message = ARGV[place], ARGV[place + 1], ARGV[place + 2]
    local pushed = redis.pcall(marker == '' and 'LPUSH' or 'RPUSH', list, message)
    if type(pushed) == 'table' then
      answer[#answer + 1] = list
      answer[#answer + 1] = pushed.err
    else
      redis.call('HDEL', KEYS[1], ARGV[place - 1])
      if marker ~= '' then
        redis.pcall('ZADD', marker, 0, 'x') -- without one the message is found within a second
      end
      answer[1] = answer[1] + 1
    end
  end
end
return answer
