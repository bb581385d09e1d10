"""The stages of the journey: one module each, plain coroutines that know ports and rules, and nothing of Faust."""
