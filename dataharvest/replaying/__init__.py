"""Once more: dead letters, ranges of topics and values that are sent or computed again because somebody asks for it."""
