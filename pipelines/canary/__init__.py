"""The canary: a patient that does not exist and travels the whole path, so that its alert tells that the path is whole.

    trips     a thread sends the parts of a trip to every owned partition and waits for the alert on the alert topic
    course    what the parts say, and what the detector says of them: in a ward of its own, at the partition's time

Its records move no time, count nowhere, and touch no patient; its alerts carry ``canary: true`` and are neither stored
as alerts nor shown (DESIGN.md section 5.6).
"""
