"""The methods that ship with recbench, registered like anybody else's."""
