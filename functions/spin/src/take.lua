-- Takes requests of the outbox that are due (ARGV[1]): id, request and attempts of each.
local taken = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', 'turnpike:outbox:due', '-inf', ARGV[1], 'LIMIT', 0, 16)) do
    local attempts = redis.call('HINCRBY', 'turnpike:outbox:attempts', id, 1)
    redis.call('ZADD', 'turnpike:outbox:due', ARGV[1] + 1000 * 2 ^ math.min(attempts - 1, 8), id)
    table.insert(taken, id)
    table.insert(taken, redis.call('HGET', 'turnpike:outbox', id))
    table.insert(taken, tostring(attempts))
end
return taken
