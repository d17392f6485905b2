#!/bin/sh
# Messages into a broker with nothing but curl, and out of it again:
#
#     sh examples/http-ingestion.sh [URL of the gateway]       default: http://127.0.0.1:4580, as `npm start` has it
#
# A gateway that asks who you are takes an API key or a JWT: JSP_TOKEN=jspk_... sh examples/http-ingestion.sh
set -eu

gateway=${1:-http://127.0.0.1:4580}
# A gateway that has too much to do says so (429, 503) and when to come back, which curl keeps to.
send() {
  curl -sS --fail-with-body --retry 5 --retry-connrefused ${JSP_TOKEN:+-H "authorization: Bearer $JSP_TOKEN"} "$@"
}
json='content-type: application/json'

echo '1. one message, answered when it is stored; the topic keeps it as its last value'
send "$gateway/v1/topics/plant/7/temperature?retain=true" -H "$json" -d '{"celsius":21.5}'
echo

echo '2. the last value of a topic'
send "$gateway/v1/topics/plant/7/temperature"
echo

echo '3. many at once, a line each, as from a file or another program'
i=0
while [ $i -lt 50 ]; do
  i=$((i + 1))
  echo "{\"topic\":\"plant/$i/temperature\",\"json\":{\"celsius\":$i},\"key\":\"plant-$i\"}"
done | send "$gateway/v1/bulk" -H 'content-type: application/x-ndjson' --data-binary @- | cut -c -120

echo '4. the same request twice, as after an answer that was lost: under one Idempotency-Key it is stored once'
key=$(date +%s)-$$
for attempt in first second; do
  printf '%s attempt: ' "$attempt"
  send "$gateway/v1/topics/orders" -H "$json" -H "idempotency-key: $key" -d '{"item":"tea","count":2}'
  echo
done

echo '5. a message that nobody has to have: not stored, not waited for, worth nothing after 5 s'
send -o /dev/null -w '%{http_code}\n' "$gateway/v1/topics/plant/7/vibration?qos=0&ttl=5s" -d '0.02'

echo '6. what is wrong is said with a code that stays'
curl -sS ${JSP_TOKEN:+-H "authorization: Bearer $JSP_TOKEN"} "$gateway/v1/topics/plant/%2B" -d 'x'
echo
