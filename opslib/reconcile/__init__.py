"""From a revision to the running state: desired, plan, apply, inventory, prune, health, loop."""
