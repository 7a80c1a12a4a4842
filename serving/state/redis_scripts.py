"""What Redis is told to do in one step, and how events lie in it."""

# One hash a user: what an event is called -> when (20 digits), in which order it came (20 digits), and what it was.
# The oldest ones go when there are an eighth too many, so that not every event pays for sorting all others.
APPEND = """
local new = 0
for n = 2, #ARGV, 2 do new = new + redis.call('HSETNX', KEYS[1], ARGV[n], ARGV[n + 1]) end
local keep = tonumber(ARGV[1])
local many = redis.call('HLEN', KEYS[1])
if many > keep + keep / 8 then
  local all, ages = redis.call('HGETALL', KEYS[1]), {}
  for n = 1, #all, 2 do ages[#ages + 1] = {string.sub(all[n + 1], 1, 40), all[n]} end
  table.sort(ages, function(a, b) return a[1] < b[1] end)
  for n = 1, many - keep do redis.call('HDEL', KEYS[1], ages[n][2]) end
end
-- new ones, and those that nobody reads any more because of them, taken out already or not
return {new, math.max(0, many - keep) - math.max(0, many - new - keep)}
"""

# a full server begins no transaction, and is the one that has to be able to forget
ERASE = """
local many = redis.call('HLEN', KEYS[1])
redis.call('DEL', KEYS[1])
return many
"""
