"""Published algorithms, one per file: the class that yields the sends of chunks that a collective is made of."""
