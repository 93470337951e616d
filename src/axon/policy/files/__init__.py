"""From text to policies, with the place of everything that is wrong; and policies back into files."""
