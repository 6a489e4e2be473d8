"""Changes to keys over their life: assign, rotate, rewrap, drop, shred."""
