-- Makes a step of a machine (KEYS[1]), if its state is still the one the step begins with: 1, else 0.
-- ARGV: that state, the state it ends with (none: the machine is forgotten), its alarm, rows, outbox, the time.
local machine = KEYS[1]
local was, state, alarm, now = ARGV[1], ARGV[2], ARGV[3], ARGV[6]
if (redis.call('HGET', machine, 'state') or '') ~= was then return 0 end
if state == '' then
    redis.call('DEL', machine)
    redis.call('ZREM', 'turnpike:alarms', machine)
else
    redis.call('HSET', machine, 'state', state)
    if alarm == 'off' then
        redis.call('HDEL', machine, 'alarm')
        redis.call('ZREM', 'turnpike:alarms', machine)
    elseif alarm ~= 'keep' then
        redis.call('HSET', machine, 'alarm', alarm)
        redis.call('ZADD', 'turnpike:alarms', alarm, machine)
    end
end
for _, entry in ipairs(cjson.decode(ARGV[4])) do redis.call('RPUSH', machine .. ':entries', entry) end
for _, outgoing in ipairs(cjson.decode(ARGV[5])) do
    local id = redis.call('INCR', 'turnpike:outbox:last')
    redis.call('HSET', 'turnpike:outbox', id, outgoing)
    redis.call('ZADD', 'turnpike:outbox:due', now, id)
end
return 1
