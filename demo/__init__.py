"""A small shop on loopback, so that there is something to look at: `python -m demo`.

    visitors -> edge (nginx, if it is installed) -> frontend -> catalog
                                                             -> orders -> payments

Every box is a process of its own that listens on 127.0.0.1. Searches are slow, payments fail now and
then, some products do not exist. Nothing here knows of Axon.
"""
