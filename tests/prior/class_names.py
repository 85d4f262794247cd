"""Words that no caption may hold: each is, or begins, the name of a class of NEU, X-SDD, CCBSD or magnetic tiles."""
CLASS_NAMES = ("patch", "scratch", "craz", "inclusion", "pit", "rolled", "scale", "indentation", "oxide", "slag",
               "crack", "blowhole", "break", "fray", "uneven")
