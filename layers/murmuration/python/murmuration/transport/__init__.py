"""HTTP requests to servers of others: addresses are checked, connections kept, time and size bounded.

It knows neither Matrix nor JSON. `outbound` asks identity providers through it, `federation` asks other
homeservers.
"""
