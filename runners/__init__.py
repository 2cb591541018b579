"""How models meet tasks: configs, the training loop, sweeps, presets and the command line."""
