"""Speed as ratios: two things that this machine does, timed in one run, one over the other.

Seconds differ from machine to machine and from hour to hour; a ratio stays, and can have a goal.
"""
