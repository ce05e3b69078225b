"""argv -> settings -> flow -> report; one file a command. Starts without torch."""
