"""This process and its children: cores, memory, pools and terminal output."""
