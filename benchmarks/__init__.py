"""The benchmark: the same training steps by graphir and by its peers. Run by `make bench`."""
