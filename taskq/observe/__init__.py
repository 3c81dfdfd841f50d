"""What taskq tells the outside: logs now. Imports nothing above the stores."""
