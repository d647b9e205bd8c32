"""The items of rooms. What is of users, logins or keys lives beside this package."""
