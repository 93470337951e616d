"""Who may ask what: policies, and what the kernel is given of them."""
