#!/bin/bash
# A root shell on a virtio-serial port. A line is a script, in base64; the answer is a line too: its
# exit code, what it wrote to standard output and to standard error, both in base64.
exec 3<> /dev/virtio-ports/agent
echo hello >&3
while read -r line <&3; do
    script=$(base64 -d <<< "$line")
    output=$(bash -c "$script" 3>&- < /dev/null 2> /run/test-agent.stderr | base64 -w 0; exit "${PIPESTATUS[0]}")
    echo "$? -$output -$(base64 -w 0 /run/test-agent.stderr)" >&3
done
