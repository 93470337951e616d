"""What was asked before: what a change of policies makes of it, and the policies that allow it."""
