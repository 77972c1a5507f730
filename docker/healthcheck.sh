#!/bin/bash
# Ask the server whether it is ready, at the address that it has written into POINTREND_ADDRESS_FILE; where Ray serves, which
# writes none, at port 8000. The shell itself does that, because Python every few seconds would cost more than the server idle.
url=http://127.0.0.1:8000
[ -s "$POINTREND_ADDRESS_FILE" ] && url=$(<"$POINTREND_ADDRESS_FILE")
authority=${url#http://}
host=${authority%:*} port=${authority##*:}
host=${host#[} host=${host%]}
trap '' PIPE # a server that closes early may have said why
exec 3<>"/dev/tcp/$host/$port" || exit 1
printf 'GET /readyz HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$authority" 2>/dev/null >&3
IFS= read -r -d '' -t 3 answer <&3
[[ $answer == "HTTP/1.1 200 "* ]] && exit 0
printf '%s\n' "${answer:-no answer from $url}"
exit 1
