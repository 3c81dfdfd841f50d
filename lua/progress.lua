-- progress: running -> running; note how far a running job is.
-- Why: a worker that lost its lease must not write over what the new owner reports, so the token is asked for here too.
-- KEYS
-- 1 job  taskq:{q}:job:<id>  hash  the job
-- ARGV
-- 1 token     text  the current token
-- 2 worker    text  the owner
-- 3 fraction  text  0..1, three decimals
-- 4 note      text  words for people, bounded by the caller
-- Returns
-- {"OK"} | {"STALE"} | {"GONE"}
-- Cost: O(1)
-- Flags: allow-oom
-- @include read_job
local job = KEYS[1]
local token, worker, fraction, note = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local now = read_job(job, 'state', 'token', 'worker')
if not now then return { 'GONE' } end
if now[1] ~= 'running' or now[2] ~= token or now[3] ~= worker then return { 'STALE' } end
redis.call('HSET', job, 'progress', fraction, 'note', note)
return { 'OK' }
