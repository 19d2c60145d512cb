#!/bin/sh
# Makes the eight topics as `itbwatch check --connect` wants them; what exists stays as it is.
#   KAFKA_BIN=/opt/kafka/bin BOOTSTRAP=broker:9092 PARTITIONS=12 REPLICAS=3 [COMMAND_CONFIG=client.properties] sh topics.sh
# RETENTION_MS=-1 where `time: stream` plays past data; else the broker's own retention holds.
set -eu
LONGEST=9223372036854775807 # records of any time are taken: what is too far ahead is judged, and told, by the service
MERGES_BYTES=16777216       # what a merged patient hands over is one record

make() { # make NAME [key=value]: one topic
  "$KAFKA_BIN/kafka-topics.sh" --bootstrap-server "$BOOTSTRAP" ${COMMAND_CONFIG:+--command-config "$COMMAND_CONFIG"} \
    --create --if-not-exists --topic "$1" --partitions "$PARTITIONS" --replication-factor "$REPLICAS" \
    --config message.timestamp.type=CreateTime --config message.timestamp.after.max.ms=$LONGEST ${RETENTION_MS:+--config "retention.ms=$RETENTION_MS"} \
    ${2:+--config "$2"}
}

for topic in icu.encounters icu.pumps icu.context icu.observations itb.acknowledgements itb.alerts itb.deadletters; do
  make "$topic"
done
make itb.merges max.message.bytes=$MERGES_BYTES
