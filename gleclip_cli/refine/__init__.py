"""From maps to masks: class-aware affinity (CAA), pixel-adaptive refinement (PAR), pseudo masks."""
