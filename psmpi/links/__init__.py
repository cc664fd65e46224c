"""Links: how frames get from one role to another, over MPI or inside one process."""
