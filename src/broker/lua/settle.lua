-- Removes messages that are done from the claim of a living owner.
-- KEYS: owners, claim   ARGV: owner, fields ...
-- Returns: how many were there
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  return redis.error_reply('FENCED this owner was declared dead')
end
return redis.call('HDEL', KEYS[2], unpack(ARGV, 2))
