"""From plans to programs: schedules, the time of a layer on one device, communication, memory."""
