"""This process and its children: cores, memory, pools, what a terminal may show."""
