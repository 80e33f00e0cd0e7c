"""The ground floor: data and rules; what decides, and neither waits nor reads a clock."""
