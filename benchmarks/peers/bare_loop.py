"""kafka-python alone: poll, and decode the JSON. What no service on this client can be faster than."""

import resource
import sys
import time

import msgspec
from kafka import KafkaConsumer
from kafka.structs import TopicPartition

bootstrap, topic, partitions, total = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
decode = msgspec.json.Decoder().decode
consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False)
consumer.assign([TopicPartition(topic, number) for number in range(partitions)])
seen, first = 0, None
while seen < 0.95 * total:
    for records in consumer.poll(timeout_ms=1_000, max_records=2_000).values():
        for record in records:
            decode(record.value)
        seen += len(records)
    if first is None and seen >= 0.05 * total:
        used = resource.getrusage(resource.RUSAGE_SELF)
        first = seen, time.monotonic(), used.ru_utime + used.ru_stime
used = resource.getrusage(resource.RUSAGE_SELF)
print(seen - first[0], time.monotonic() - first[1], used.ru_utime + used.ru_stime - first[2])
