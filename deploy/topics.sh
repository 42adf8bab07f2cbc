#!/bin/bash
# Makes the daemon's topics, with the settings that they need, where they are missing.
# usage: topics.sh BOOTSTRAP [PARTITIONS=4] [REPLICAS=3]     (with Kafka's own tools)
set -euo pipefail
bootstrap=$1
partitions=${2:-4}
replicas=${3:-3}
day=86400000

# A horizon of 7 days and a quarter, and 30 days for views that come late.
aging=$((39 * day))
# Forgotten users stay forgotten in checkpoints of up to 12 hours.
tombstones=$day

topic() {  # NAME SETTING ...
  local settings=()
  for setting in "${@:2}"; do settings+=(--config "$setting"); done
  "${KAFKA_HOME:-/opt/kafka}/bin/kafka-topics.sh" --bootstrap-server "$bootstrap" --create --if-not-exists \
    --topic "$1" --partitions "$partitions" --replication-factor "$replicas" "${settings[@]}"
}

# The same number of partitions for all that is read together.
topic posts retention.ms=$((7 * day)) max.message.bytes=2097152
topic views retention.ms=$((7 * day))
topic lessons retention.ms=-1
topic users cleanup.policy=compact delete.retention.ms=$tombstones max.compaction.lag.ms=$((7 * day))
topic joins cleanup.policy=compact,delete retention.ms=$aging delete.retention.ms=$tombstones
topic encodings cleanup.policy=compact,delete retention.ms=$aging delete.retention.ms=$tombstones
topic scores retention.ms=$((7 * day))
# (Written where topics.latest is set.)
topic latest cleanup.policy=compact,delete retention.ms=$((30 * day))
topic dead-letters retention.ms=$((30 * day)) max.message.bytes=3145728
